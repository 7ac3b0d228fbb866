"""The loops' share of an engine: an engine like any other that lets at most so many completions of loops be under way at once.

An engine writes a bounded number of completions side by side (vLLM: `max_num_seqs`) and takes them in the order in which they come. Loops
ask for many at once; with this cap below that bound, a plain chat always finds a place beside them. First come, first served: a request for
many completions is not overtaken by small ones. Plain chat does not pass through here. Knows no loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from redraft.engine import Engine, Generation, Stream
from redraft.options import LoopOptions

OF_ENGINE = 0.75
"""Of the completions that an engine writes side by side, so many are for loops."""


def part_of(sequences: int) -> int:
    """The loops' places in an engine that writes `sequences` completions side by side."""
    return max(1, int(sequences * OF_ENGINE))


class Share:
    """The protocol of `redraft.engine`. `places` is the cap (None: there is none); `held` and `waiting` are completions.

    A request for more completions than there are places waits until it has them all.
    """

    def __init__(self, engine: Engine, places: int | None) -> None:
        self._engine = engine
        self.places = places
        self.held = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        return sum(n for n, turn in self._queue if not turn.done())

    def fitted(self, options: LoopOptions) -> LoopOptions:
        """`options` with batches that fit: one of a loop's batches never holds more than all places."""
        return options if self.places is None else replace(options, batch=min(options.batch, self.places))

    async def models(self) -> list[str]:
        return await self._engine.models()

    @asynccontextmanager
    async def stream(self, request: Generation) -> AsyncIterator[Stream]:
        n = request.n if self.places is None else min(request.n, self.places)
        await self._take(n)
        try:
            async with self._engine.stream(request) as stream:
                yield stream
        finally:
            self.held -= n
            self._admit()

    async def _take(self, n: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((n, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.held -= n
            turn.cancel()
            self._admit()
            raise

    def _admit(self) -> None:
        """Give places to those in front. Who went away has cancelled the turn."""
        while self._queue:
            n, turn = self._queue[0]
            if not turn.done():
                if self.places is not None and self.held + n > self.places:
                    return
                self.held += n
                turn.set_result(None)
            self._queue.popleft()
