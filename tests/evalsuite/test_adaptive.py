"""Early-stopped voting: fewer responses, the same answer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from aiohttp import web

from evalsuite import store
from evalsuite.adaptive import draw, next_batch
from evalsuite.ask import Reply, Response
from evalsuite.config import RunConfig, Sampling, Strategy
from evalsuite.endpoint import Answered
from evalsuite.grade import grade
from tests.evalsuite.fake_checker import FakeChecker
from tests.evalsuite.scripted_server import Body, chat
from tests.evalsuite.test_runner import run, task

ADAPTIVE = RunConfig("t", "print", "tiny", Strategy.ADAPTIVE, Sampling(8, 64, 0.7, 100))


@pytest.mark.parametrize(
    ("lead", "outstanding", "expected"),
    [(0, 8, 5), (5, 3, 0), (3, 3, 1), (1, 3, 2), (0, 1, 1), (0, 0, 0), (2, 0, 0)],
)
def test_the_next_batch_is_the_least_that_could_settle_the_vote(lead: float, outstanding: int, expected: int) -> None:
    assert next_batch(lead, outstanding) == expected


async def test_the_answer_is_that_of_all_n_and_the_batches_are_parts_of_one_request() -> None:
    for seed in range(60):
        await _drawn_by(seed)


async def _drawn_by(seed: int) -> None:
    rng = random.Random(seed)
    everything = [rng.choice(["so 1", "so 1", "so 2", "so 3", "none"]) for _ in range(8)]
    batches: list[Sampling] = []

    async def ask(config: RunConfig) -> tuple[Answered, Reply]:
        batches.append(config.sampling)
        assert config.sampling.seed is not None
        first = config.sampling.seed - 100
        part = everything[first : first + (config.sampling.n or 0)]
        return Answered({}, float(first), 1.0, 1), Reply(tuple(Response(text, "stop") for text in part), 10, 5 * len(part))

    checker = FakeChecker()
    drawn = await draw(ADAPTIVE, ask, checker)
    texts = [response.content for response in drawn.reply.responses]
    assert texts == everything[: len(texts)]
    whole = Reply(tuple(Response(text, "stop") for text in everything), 10, 40)
    few = await grade(Strategy.ADAPTIVE, "1", drawn.reply, checker)
    assert few.final == (await grade(Strategy.VOTE, "1", whole, checker)).final
    assert sum(sampling.n or 0 for sampling in batches) == len(texts)
    assert drawn.reply.completion_tokens == 5 * len(texts)
    assert drawn.reply.prompt_tokens == 10 * len(batches)


async def test_an_adaptive_run_stops_where_all_agree(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return chat(["so 1"] * body["n"])

    value, server = await run(tmp_path, ADAPTIVE, task(a="1", b="1"), script)
    assert [(b["n"], b["seed"]) for b in server.bodies] == [(5, 100), (5, 100)]
    assert value["counts"]["responses"] == 10
    assert value["accuracy"]["value"] == 1.0
    assert "at_k" not in value, "the number of responses depends on them"
    assert all(len(sample["responses"]) == 5 for sample in store.load(tmp_path).samples.values())
