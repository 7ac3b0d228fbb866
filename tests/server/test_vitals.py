"""Whether the engine moves: dead, hanging, slow and idle engines, of this process and remote ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from redraft.engine import Generation
from redraft.errors import EngineUnavailable
from redraft.scripted import Reply, ScriptedEngine
from server import vitals
from server.vitals import Vitals

ASK = Generation(messages=({"role": "user", "content": "x"},), model="scripted", max_tokens=10_000)
HANG_S = 0.1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "TICK_S", 0.01)


class Core:
    """An engine core as its probe sees it."""

    def __init__(self) -> None:
        self.moving = asyncio.Event()
        self.moving.set()
        self.dead = False
        self.asked = 0

    async def probe(self) -> None:
        self.asked += 1
        await self.moving.wait()
        if self.dead:
            raise EngineUnavailable("the engine is not running")


def talking(words: int, delay_s: float) -> ScriptedEngine:
    return ScriptedEngine(lambda request: [Reply("word " * words, delay_s=delay_s)])


@asynccontextmanager
async def watched(found: Vitals) -> AsyncIterator[Vitals]:
    watch = asyncio.create_task(found.watch())
    try:
        yield found
    finally:
        watch.cancel()
        await asyncio.wait({watch})


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_an_idle_engine_is_asked_and_its_server_beats() -> None:
    core, beats = Core(), []
    async with watched(Vitals(talking(1, 0), hang_s=HANG_S, probe=core.probe, beat=lambda: beats.append(1))) as found:
        await until(lambda: core.asked > 3 and len(beats) > 3)
        assert found.fault() is None


async def test_one_that_does_not_answer_hangs_until_it_does() -> None:
    core, beats = Core(), []
    async with watched(Vitals(talking(1, 0), hang_s=HANG_S, probe=core.probe, beat=lambda: beats.append(1))) as found:
        core.moving.clear()
        await until(found.fault)
        fault = found.fault()
        assert fault is not None
        assert "no progress" in fault.message
        assert fault.retry_after_s
        silent = len(beats)
        await asyncio.sleep(0.05)
        assert len(beats) == silent
        with pytest.raises(EngineUnavailable):
            async with found.stream(ASK):
                pass
        core.moving.set()
        await until(lambda: found.fault() is None and len(beats) > silent)


async def test_readers_of_a_hanging_engine_are_told() -> None:
    core, engine = Core(), talking(2, 600)

    async def read(found: Vitals) -> None:
        async with found.stream(ASK) as stream:
            async for _ in stream:
                pass

    async with watched(Vitals(engine, hang_s=HANG_S, probe=core.probe)) as found:
        reader = asyncio.create_task(read(found))
        await until(lambda: engine.running)
        core.moving.clear()
        with pytest.raises(EngineUnavailable, match="no progress"):
            await reader
        assert engine.running == 0


async def test_text_is_progress_also_where_the_probe_waits_long() -> None:
    core, engine = Core(), talking(60, HANG_S / 10)
    async with watched(Vitals(engine, hang_s=HANG_S, probe=core.probe)) as found:
        core.moving.clear()
        async with found.stream(ASK) as stream:
            faults = [found.fault() async for _ in stream]
        assert faults == [None] * len(faults)
        assert len(faults) > 50


async def test_a_dead_engine_is_dead_at_once() -> None:
    core = Core()
    core.dead = True
    async with watched(Vitals(talking(1, 0), hang_s=60, probe=core.probe)) as found:
        await until(found.fault)
        fault = found.fault()
        assert fault is not None
        assert fault.message == "the engine is not running"


async def test_a_remote_engine_is_not_well_while_all_streams_are_silent() -> None:
    engine = talking(2, 600)
    async with watched(Vitals(engine, hang_s=HANG_S)) as found:
        assert not found.own

        async def read() -> None:
            async with found.stream(ASK) as stream:
                async for _ in stream:
                    pass

        reader = asyncio.create_task(read())
        await until(found.fault)
        assert not reader.done()
        reader.cancel()
        await until(lambda: found.fault() is None)
