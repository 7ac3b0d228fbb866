"""Many things at once, their results in order. Knows not what is done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

AHEAD = 4
"""How many times `at_once` are begun or done before the oldest has to be: one slow item does not idle the others."""

T = TypeVar("T")
R = TypeVar("R")


async def in_order(items: Iterable[T], work: Callable[[T], Awaitable[R]], *, at_once: int) -> AsyncGenerator[tuple[T, R], None]:
    """`(item, result)` in the order of `items`, with at most `at_once` at work. Closing it cancels what still runs."""
    gate = asyncio.Semaphore(at_once)
    waiting: deque[tuple[T, asyncio.Task[R]]] = deque()

    async def one(item: T) -> R:
        async with gate:
            return await work(item)

    try:
        for item in items:
            waiting.append((item, asyncio.create_task(one(item))))
            if len(waiting) >= AHEAD * at_once:
                yield waiting[0][0], await waiting[0][1]
                waiting.popleft()
        while waiting:
            yield waiting[0][0], await waiting[0][1]
            waiting.popleft()
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
