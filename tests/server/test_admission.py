"""The queue in front of the loops: its two bounds, its order, and who leaves it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from redraft.errors import EngineUnavailable, Overloaded
from server.admission import Admission, Deadline, estimate


class Visitor:
    """Takes a place in a task of its own and keeps it until told to leave."""

    def __init__(self, admission: Admission, tokens: int = 0, deadline_s: float | None = None) -> None:
        self.inside = False
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(admission, tokens, Deadline.after(deadline_s)))

    async def _visit(self, admission: Admission, tokens: int, deadline: Deadline) -> None:
        async with admission.place(tokens, deadline):
            self.inside = True
            await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_come_first_served() -> None:
    admission = Admission(running=1, waiting=3)
    visitors = [Visitor(admission) for _ in range(4)]
    await settle()
    assert (admission.running, admission.waiting) == (1, 3)
    for place, visitor in enumerate(visitors):
        assert [v.inside for v in visitors[place:]] == [True] + [False] * (3 - place)
        await visitor.leave()
        await settle()
    assert (admission.running, admission.waiting) == (0, 0)


async def test_one_more_than_may_wait_is_refused() -> None:
    admission = Admission(running=1, waiting=1)
    inside, waiting = Visitor(admission), Visitor(admission)
    await settle()
    with pytest.raises(Overloaded, match="1 loops run and 1 wait") as refused:
        async with admission.place():
            pass
    assert refused.value.retry_after_s
    await inside.leave()
    await waiting.leave()


async def test_so_are_more_tokens_than_may_wait_but_one_may_always() -> None:
    admission = Admission(running=1, waiting=9, waiting_tokens=100)
    inside, long, more = Visitor(admission, 500), Visitor(admission, 500), Visitor(admission, 1)
    await settle()
    assert (long.task.done(), admission.tokens_waiting) == (False, 500)
    with pytest.raises(Overloaded, match="500 tokens"):
        await more.task
    await inside.leave()
    await long.leave()


async def test_who_goes_away_frees_the_place_in_the_queue() -> None:
    admission = Admission(running=1, waiting=1)
    inside, gone = Visitor(admission), Visitor(admission)
    await settle()
    gone.task.cancel()
    await settle()
    assert admission.waiting == 0
    waiting = Visitor(admission)
    await settle()
    await inside.leave()
    await settle()
    assert waiting.inside
    await waiting.leave()


async def test_who_goes_away_when_called_up_hands_the_place_on() -> None:
    admission = Admission(running=1, waiting=2)
    async with admission.place():
        gone, after = Visitor(admission), Visitor(admission)
        await settle()
    gone.task.cancel()  # it was called up and has not yet run
    await settle()
    assert (gone.inside, after.inside, admission.running) == (False, True, 1)
    await after.leave()
    assert admission.running == 0


async def test_the_deadline_passes_in_the_queue() -> None:
    admission = Admission(running=1, waiting=1)
    inside, late = Visitor(admission), Visitor(admission, deadline_s=0.02)
    with pytest.raises(Overloaded, match="deadline passed"):
        await late.task
    assert (admission.running, admission.waiting) == (1, 0)
    await inside.leave()


async def test_a_closed_queue_lets_nobody_in_and_nobody_wait() -> None:
    admission = Admission(running=1, waiting=2)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(admission.place())
        waiting = Visitor(admission)
        await settle()
        admission.close()
        with pytest.raises(EngineUnavailable):
            await waiting.task
        with pytest.raises(EngineUnavailable) as refused:
            async with admission.place():
                pass
        assert refused.value.retry_after_s
        assert (admission.running, admission.waiting) == (1, 0)
    assert admission.running == 0


def test_an_estimate_counts_the_prompt_and_all_that_may_be_generated() -> None:
    assert estimate(["x" * 400, "y" * 40], 8192) == 110 + 8192
