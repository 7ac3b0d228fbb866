"""A loop's fan-out is capped over the whole server, and plain chat finds a place beside it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from redraft import loop
from redraft.engine import Generation, Stream
from redraft.options import LoopOptions
from redraft.scripted import Reply, ScriptedEngine
from server.config import Limits, LoopDefaults
from server.share import Share, part_of
from tests.conftest import Script, WordChecker
from tests.server.conftest import Serve

SLOTS = 4


class Batching(ScriptedEngine):
    """Like vLLM: it writes at most `SLOTS` completions side by side and takes requests in the order in which they come."""

    def __init__(self, script: Any) -> None:
        super().__init__(script)
        self._slots = asyncio.Semaphore(SLOTS)
        self._door = asyncio.Lock()
        self.most = 0
        self._now = 0

    @asynccontextmanager
    async def stream(self, request: Generation) -> AsyncIterator[Stream]:
        async with self._door:
            for _ in range(request.n):
                await self._slots.acquire()
        self._now += request.n
        self.most = max(self.most, self._now)
        try:
            async with super().stream(request) as stream:
                yield stream
        finally:
            self._now -= request.n
            for _ in range(request.n):
                self._slots.release()


def ask(n: int = 1) -> Generation:
    return Generation(({"role": "user", "content": "?"},), "scripted", 1000, n=n, temperature=1.0)


async def loops(engine: Share | Batching, number: int) -> None:
    options = LoopOptions(drafts=4, batch=2, rounds=0)
    run = [
        loop.run(engine, WordChecker(), [{"role": "user", "content": "?"}], model="scripted", critic="scripted", options=options)
        for _ in range(number)
    ]
    await asyncio.gather(*run)


async def read(engine: Batching) -> None:
    async with engine.stream(ask()) as stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize(("places", "overtakes"), [(part_of(SLOTS), True), (None, False)])
async def test_a_plain_chat_is_written_beside_waiting_loops_only_with_the_cap(places: int | None, overtakes: bool) -> None:
    """Twenty loops that disagree for ever, then one short chat."""
    answers = itertools.count()
    engine = Batching(lambda request: [Reply("a few words and = " + str(next(answers))) for _ in range(request.n)])
    share = Share(engine, places)
    busy = asyncio.create_task(loops(share, 20))
    while engine.most < (places or SLOTS):
        await asyncio.sleep(0)
    before = len(engine.requests)
    await read(engine)
    started = len(engine.requests) - before
    assert (started < 10) is overtakes, f"{started} requests of loops were taken before the chat was done"
    await busy
    assert engine.most <= SLOTS
    assert (share.held, share.waiting) == (0, 0)


async def test_loops_never_hold_more_than_their_places() -> None:
    engine = Batching(Script(["one way = 1", "another = 2", "a third one = 3"]))
    share = Share(engine, 3)
    await loops(share, 6)
    assert engine.most <= 3
    assert len(engine.requests) > 6


async def test_a_request_for_many_is_not_overtaken_by_small_ones() -> None:
    share = Share(ScriptedEngine(Script(["word " * 5] * 9)), 3)
    order: list[int] = []

    async def one(n: int) -> None:
        async with share.stream(ask(n)) as stream:
            order.append(n)
            async for _ in stream:
                pass

    tasks = []
    for n in (2, 3, 1, 1):
        tasks.append(asyncio.create_task(one(n)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == [2, 3, 1, 1]


@pytest.mark.parametrize("steps", range(6))
async def test_who_goes_away_leaves_no_place_behind(steps: int) -> None:
    share = Share(ScriptedEngine(Script(["word " * 50] * 9)), 2)

    async def one() -> None:
        async with share.stream(ask(2)) as stream:
            async for _ in stream:
                pass

    tasks = [asyncio.create_task(one()) for _ in range(3)]
    for _ in range(steps):
        await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[2].done()
    assert not tasks[2].cancelled()
    assert (share.held, share.waiting) == (0, 0)


async def test_more_completions_than_places_wait_for_all_of_them() -> None:
    share = Share(ScriptedEngine(Script(["x"] * 9)), 2)
    async with share.stream(ask(5)):
        assert share.held == 2
    assert share.held == 0


async def test_the_server_caps_its_loops_and_shows_it(serve: Serve) -> None:
    limits = Limits(in_flight=2)
    served = serve(Script(["= 1", "= 2", "= 3"]), limits=limits, loop=LoopDefaults(drafts=3, batch=3))
    async with served.client() as client:
        replies = await asyncio.gather(*(client.post("/solve", json={"problem": "x?", "loop": {"rounds": 0}}) for _ in range(4)))
        text = (await client.get("/metrics", follow_redirects=True)).text
    assert {reply.status_code for reply in replies} == {200}
    assert max(request.n for request in served.engine.requests) <= 2
    assert "redraft_completions_running 0.0" in text
    assert "redraft_completions_waiting 0.0" in text
