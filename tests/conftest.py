"""Fixtures of every room: scripts for the deterministic engine, and a checker that needs no mathematics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import settings

from redraft import prompts
from redraft.engine import Generation
from redraft.scripted import Reply, ScriptedEngine
from redraft.types import Stage

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
"""No test here is about time: a busy machine must not turn one red."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: bursts and long traffic on the real vLLM (many minutes); only when asked for with -m soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Soak tests run only when `-m` names them, whatever else it says."""
    if "soak" not in config.getoption("markexpr"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("soak")])
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


def stage_of(request: Generation) -> Stage:
    """Which kind of call a loop made, told from its prompt."""
    last_user = [m["content"] for m in request.messages if m["role"] == "user"][-1]
    if last_user.startswith(prompts.CRITIQUE_INSTRUCTION):
        return Stage.CRITIQUE
    return Stage.REVISE if last_user.startswith("A reviewer read your solution") else Stage.SOLVE


def judged_response(request: Generation) -> str:
    """The response that a critique request asks about."""
    return request.messages[0]["content"].split("Solution:\n", 1)[1]


def verdict(p_correct: float, text: str = "step one is checked") -> Callable[[Generation], list[Reply]]:
    """Both calls of one critique: the words, then the labels' probabilities."""

    def play(request: Generation) -> list[Reply]:
        if request.top_logprobs:
            labels = {" right": math.log(max(p_correct, 1e-9)), " wrong": math.log(max(1 - p_correct, 1e-9))}
            return [Reply(" right" if p_correct >= 0.5 else " wrong", labels)]
        return [Reply(text)]

    return play


class Script:
    """A script by stage: drafts in order, from the first again when all are told, then whatever the critic and the reviser say.

    The greedy draft is always the first one and the sampled ones are the others, whichever of the two requests comes first: over a socket
    they race. A first draft that is drawn with others is greedy; one that is drawn alone is sampled: say `greedy=False` for those.
    """

    def __init__(
        self,
        drafts: Sequence[Reply | str],
        *,
        critic: Callable[[Generation], list[Reply]] | None = None,
        reviser: Callable[[Generation], list[Reply]] | None = None,
        greedy: bool = True,
    ) -> None:
        self.drafts = [Reply(d) if isinstance(d, str) else d for d in drafts]
        self.critic = critic or verdict(0.5)
        self.reviser = reviser or (lambda request: [Reply("no idea")])
        self._greedy = greedy
        self._sampled = itertools.cycle(self.drafts[1:] if greedy and len(self.drafts) > 1 else self.drafts)

    def __call__(self, request: Generation) -> list[Reply]:
        match stage_of(request):
            case Stage.SOLVE if self._greedy and request.temperature == 0.0:
                return [self.drafts[0]] * request.n
            case Stage.SOLVE:
                return list(itertools.islice(self._sampled, request.n))
            case Stage.CRITIQUE:
                return self.critic(request)
            case Stage.REVISE:
                return self.reviser(request)


class WordChecker:
    """The answer is what stands after `=`; equal are equal strings."""

    def extract(self, response: str) -> str | None:
        return response.rsplit("=", 1)[1].strip() or None if "=" in response else None

    async def is_equal(self, gold: str, pred: str) -> bool:
        return gold == pred


@pytest.fixture
def checker() -> WordChecker:
    return WordChecker()


@pytest.fixture
def scripted() -> Callable[..., ScriptedEngine]:
    def make(drafts: Sequence[Reply | str], **parts: Callable[[Generation], list[Reply]]) -> ScriptedEngine:
        return ScriptedEngine(Script(drafts, **parts))

    return make
