"""How many loops and critiques run and wait at once; one more than that is refused with 429. Knows nothing of what they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redraft.errors import Overloaded

RETRY_AFTER_S = 2.0


class Admission:
    """A bounded queue in front of `running` places. A waiter that is cancelled frees its place in the queue."""

    def __init__(self, *, running: int, waiting: int) -> None:
        self._places = asyncio.Semaphore(running)
        self._max_waiting = waiting
        self.running = 0
        self.waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one place for as long as the context lasts. Raises Overloaded when the queue is full."""
        if self._places.locked() and self.waiting >= self._max_waiting:
            raise Overloaded(f"{self.running} loops run and {self.waiting} wait: the queue is full", retry_after_s=RETRY_AFTER_S)
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._places.release()
