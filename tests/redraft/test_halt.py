"""A halt ends loops from outside, each with what it has."""

from __future__ import annotations

import asyncio

import pytest

from redraft import loop
from redraft.errors import EngineTimeout, EngineUnavailable
from redraft.halt import Halt
from redraft.options import LoopOptions
from redraft.scripted import Reply, ScriptedEngine
from redraft.types import LoopResult, Stop
from tests.conftest import Script, WordChecker

ASK: list[dict[str, str]] = [{"role": "user", "content": "2+2?"}]
SLOW = Reply("word " * 1000 + "= 9", delay_s=0.01)


async def run(engine: ScriptedEngine, halt: Halt, deadline_s: float | None = None) -> LoopResult:
    options = LoopOptions(drafts=4, batch=4, deadline_s=deadline_s)
    return await loop.run(engine, WordChecker(), ASK, model="scripted", critic="scripted", options=options, halt=halt)  # type: ignore[arg-type]


async def test_running_loops_return_the_best_they_have() -> None:
    engine, halt = ScriptedEngine(Script([Reply("= 4", delay_s=0.0), SLOW, SLOW, SLOW])), Halt()
    tasks = [asyncio.create_task(run(engine, halt))]
    while engine.running != 1:  # the greedy draft is done, three others are being written
        await asyncio.sleep(0.005)
    halt.now()
    (result,) = await asyncio.gather(*tasks)
    assert (result.stop, result.answer, engine.running) == (Stop.DRAINING, "4", 0)


async def test_what_begins_after_it_ends_at_once() -> None:
    engine, halt = ScriptedEngine(Script([SLOW])), Halt()
    halt.now()
    with pytest.raises(EngineUnavailable) as ended:
        await run(engine, halt, deadline_s=60)
    assert ended.value.retry_after_s
    assert engine.running == 0


async def test_a_deadline_is_still_a_deadline() -> None:
    result = await run(ScriptedEngine(Script([SLOW])), Halt(), deadline_s=0.05)
    assert result.stop is Stop.DEADLINE


async def test_a_loop_that_has_nothing_at_its_deadline_has_no_answer_to_give() -> None:
    with pytest.raises(EngineTimeout):
        await run(ScriptedEngine(Script([Reply("late", delay_s=600)])), Halt(), deadline_s=0.05)


async def test_work_that_has_met_its_deadline_is_left_alone() -> None:
    halt = Halt()

    async def cleaning_up() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            halt.now()

    with pytest.raises(TimeoutError):
        async with halt.within(0.01):
            await cleaning_up()
