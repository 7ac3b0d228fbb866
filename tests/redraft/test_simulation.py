"""The loop against plain voting on the same drafts, for critics of every kind: it must not lose. Fixed seeds, hundreds of problems."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from redraft import loop
from redraft.engine import Generation
from redraft.options import LoopOptions
from redraft.scripted import Reply, ScriptedEngine
from redraft.types import Calibration, LoopResult, Stage
from tests.conftest import WordChecker, judged_response, stage_of, verdict

TRUTH = "0"
PROBLEMS = 150
Rng = random.Random


def draw(rng: Rng, p: float) -> str:
    """A response: right with probability p, else one of three wrong answers, the first being the favourite."""
    return f"= {TRUTH}" if rng.random() < p else f"= {rng.choice(['1', '1', '2', '3'])}"


@dataclass(frozen=True)
class World:
    """A solver that is right with probability `p` and a critic that says `correct` of right (wrong) responses with `tpr` (`fpr`)."""

    p: float
    tpr: float
    fpr: float

    async def solve(self, seed: int, rounds: int, calibration: Calibration | None, options: LoopOptions | None = None) -> LoopResult:
        drawing = Rng(f"drafts {seed}")
        revising = Rng(f"reviser {seed}")

        def script(request: Generation) -> list[Reply]:
            match stage_of(request):
                case Stage.SOLVE:
                    return [Reply(draw(drawing, self.p)) for _ in range(request.n)]
                case Stage.REVISE:
                    return [Reply(draw(revising, self.p))]
                case Stage.CRITIQUE:
                    says = Rng(f"{seed} {judged_response(request)}").random() < (
                        self.tpr if judged_response(request) == f"= {TRUTH}" else self.fpr
                    )
                    return verdict(0.9 if says else 0.1)(request)

        return await loop.run(
            ScriptedEngine(script),
            WordChecker(),
            [{"role": "user", "content": "?"}],
            model="scripted",
            critic="scripted",
            options=options or LoopOptions(drafts=5, rounds=rounds, critique="always"),
            calibration=calibration,
        )

    async def rights(self, rounds: int, calibration: Calibration | None) -> list[bool]:
        return [(await self.solve(seed, rounds, calibration)).answer == TRUTH for seed in range(PROBLEMS)]

    def calibration(self) -> Calibration:
        return Calibration(self.tpr, self.fpr, 400)


@pytest.mark.parametrize("p", [0.4, 0.6, 0.8])
async def test_adaptive_drawing_keeps_the_accuracy_of_sixteen_votes_for_half_of_the_drafts(p: float) -> None:
    world = World(p, 0.5, 0.5)
    whole = [await world.solve(seed, 0, None, LoopOptions(drafts=16, rounds=0, confidence=1.0)) for seed in range(PROBLEMS)]
    early = [await world.solve(seed, 0, None, LoopOptions(drafts=16, rounds=0, batch=4)) for seed in range(PROBLEMS)]
    lost = sum(a.answer == TRUTH != b.answer for a, b in zip(whole, early, strict=True))
    won = sum(b.answer == TRUTH != a.answer for a, b in zip(whole, early, strict=True))
    assert lost - won <= 3
    if p >= 0.8:
        assert sum(len(result.drafts) for result in early) <= 16 * PROBLEMS / 2


ALWAYS_RIGHT, ALWAYS_WRONG, RANDOM = (1.0, 0.0), (0.0, 1.0), (0.5, 0.5)


@pytest.mark.parametrize("p", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("critic", [ALWAYS_RIGHT, ALWAYS_WRONG, RANDOM], ids=["right", "wrong", "random"])
async def test_an_unmeasured_critic_costs_no_problem(p: float, critic: tuple[float, float]) -> None:
    world = World(p, *critic)
    assert await world.rights(1, None) == await world.rights(0, None)


@pytest.mark.parametrize("p", [0.25, 0.5, 0.75])
async def test_a_measured_guesser_costs_no_problem(p: float) -> None:
    world = World(p, *RANDOM)
    assert await world.rights(1, world.calibration()) == await world.rights(0, None)


@pytest.mark.parametrize("p", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("critic", [ALWAYS_RIGHT, ALWAYS_WRONG, (0.8, 0.3), (0.9, 0.5)], ids=["right", "wrong", "fair", "lenient"])
async def test_a_measured_critic_does_not_lose_to_voting(p: float, critic: tuple[float, float]) -> None:
    world = World(p, *critic)
    assert sum(await world.rights(1, world.calibration())) >= sum(await world.rights(0, None))


async def test_a_sharp_critic_wins_clearly_where_voting_is_weak() -> None:
    world = World(0.4, *ALWAYS_RIGHT)
    loop_rights, vote_rights = sum(await world.rights(1, world.calibration())), sum(await world.rights(0, None))
    assert loop_rights >= vote_rights + PROBLEMS // 10


async def test_the_same_seed_gives_the_same_run() -> None:
    world = World(0.5, 0.8, 0.3)
    first, second = [await world.solve(3, 2, world.calibration()) for _ in range(2)]
    assert (first.answer, first.drafts, first.candidates, first.usage) == (second.answer, second.drafts, second.candidates, second.usage)
