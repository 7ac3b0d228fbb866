"""Ends loops from outside, each with its best answer so far. Knows nothing of why: a server that is about to go away has one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Halt:
    """Work runs `within` it, like within `asyncio.timeout`; `now` is a deadline for all of it, and for what begins later."""

    def __init__(self) -> None:
        self.called = False
        self._scopes: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def within(self, deadline_s: float | None) -> AsyncIterator[None]:
        """Raises TimeoutError when `deadline_s` seconds have passed, or when the halt is called."""
        async with asyncio.timeout(0 if self.called else deadline_s) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    def now(self) -> None:
        self.called = True
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(asyncio.get_running_loop().time())
