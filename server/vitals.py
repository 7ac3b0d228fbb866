"""Whether the engine makes progress: an engine like any other, that keeps an eye on the one behind it.

An engine of this process is asked by a probe that it answers only between two of its steps, so that an answer shows a step done, with
work in flight or without. One that leaves the probe unanswered for `hang_s` seconds, while no text comes either, hangs. A remote
engine's front answers whatever state its engine is in; it is told from a hanging one by the silence of all streams that are open.

Only time in which this process ran itself counts: after a suspension nobody is blamed for the silence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redraft.engine import Chunk, Engine, Generation, Stream
from redraft.errors import EngineUnavailable, RedraftError
from redraft.types import Usage

TICK_S = 0.5
RETRY_AFTER_S = 10.0
PROBES_A_HANG = 6
"""An idle engine is asked so often in `hang_s`."""

Probe = Callable[[], Awaitable[None]]


class Vitals:
    """The protocol of `redraft.engine`, with a watch over it. `beat` is told, every tick, that this server is live."""

    def __init__(self, engine: Engine, *, hang_s: float, probe: Probe | None = None, beat: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._hang_s = hang_s
        self._probe = probe
        self._beat = beat
        self._asking = False
        self._dead: RedraftError | None = None
        self._silent_s = 0.0
        self._open: set[_Watched] = set()

    # -- the engine ----------------------------------------------------------------------------------------------------------

    async def models(self) -> list[str]:
        return await self._engine.models()

    @asynccontextmanager
    async def stream(self, request: Generation) -> AsyncIterator[_Watched]:
        if self.own and (fault := self.fault()) is not None:
            raise fault
        async with self._engine.stream(request) as stream:
            watched = _Watched(stream, self._progress)
            self._open.add(watched)
            try:
                yield watched
            finally:
                self._open.discard(watched)

    def _progress(self) -> None:
        self._silent_s = 0.0

    # -- what is known of it ---------------------------------------------------------------------------------------------------

    @property
    def own(self) -> bool:
        """The engine belongs to this process: if it is not well, only a restart of this server helps."""
        return self._probe is not None

    def fault(self) -> EngineUnavailable | None:
        """Why the engine is not well; None while it is."""
        if self._dead is not None:
            return EngineUnavailable(self._dead.message, retry_after_s=RETRY_AFTER_S)
        if self._silent_s < self._hang_s:
            return None
        return EngineUnavailable(f"the engine has made no progress for {self._silent_s:.0f} s", retry_after_s=RETRY_AFTER_S)

    # -- the watch -------------------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Run for as long as the server does."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            if self._probe is not None:
                group.create_task(self._ask(self._probe))

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            waiting = self._asking if self.own else bool(self._open)
            self._silent_s = self._silent_s + min(now - last, 2 * TICK_S) if waiting else 0.0
            last = now
            fault = self.fault() if self.own else None
            if fault is None:
                self._beat()
            else:
                for stream in self._open:
                    stream.fail(fault)

    async def _ask(self, probe: Probe) -> None:
        while True:
            self._asking = True
            try:
                await probe()
                self._dead = None
            except RedraftError as error:
                self._dead = error
            self._asking = False
            await asyncio.sleep(self._hang_s / PROBES_A_HANG)


class _Watched:
    """A stream whose pieces count as progress, and that can be failed while its reader waits for the next piece."""

    def __init__(self, stream: Stream, progress: Callable[[], None]) -> None:
        self._stream = stream
        self._progress = progress
        self._fault: RedraftError | None = None
        self._scope: asyncio.Timeout | None = None

    @property
    def usage(self) -> Usage:
        return self._stream.usage

    async def __aiter__(self) -> AsyncGenerator[Chunk, None]:
        chunks = aiter(self._stream)
        while (chunk := await self._next(chunks)) is not None:
            self._progress()
            yield chunk

    async def _next(self, chunks: AsyncIterator[Chunk]) -> Chunk | None:
        try:
            async with asyncio.timeout(None) as self._scope:
                return await anext(chunks, None)
        except TimeoutError:
            assert self._fault is not None
            raise self._fault from None
        finally:
            self._scope = None

    def fail(self, fault: RedraftError) -> None:
        if self._scope is not None and not self._scope.expired():
            self._fault = fault
            self._scope.reschedule(asyncio.get_running_loop().time())
