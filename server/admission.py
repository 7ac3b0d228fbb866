"""How many loops and critiques run and wait at once, by their number and by the tokens they may take. Knows nothing of what they do."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redraft.errors import EngineUnavailable, Overloaded
from redraft.types import Message

RETRY_AFTER_S = 2.0
CHARACTERS_A_TOKEN = 4
"""About so many in English; a guess is enough to tell a long prompt from a short one."""
UNBOUNDED = 1 << 62


@dataclass(frozen=True, slots=True)
class Deadline:
    """The one deadline of a loop, from its arrival on: the time in the queue counts. `at` is a time of `time.monotonic`, or None."""

    at: float | None = None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        return cls(None if seconds is None else time.monotonic() + seconds)

    def left(self) -> float | None:
        """Seconds, 0 when it has passed; None without a deadline."""
        return None if self.at is None else max(0.0, self.at - time.monotonic())


NEVER = Deadline()


def estimate(texts: Iterable[str], max_tokens: int) -> int:
    """Tokens that a request may take: its prompt, roughly, and all that it may generate."""
    return sum(len(text) for text in texts) // CHARACTERS_A_TOKEN + max_tokens


def texts_of(messages: Iterable[Message]) -> list[str]:
    return [message["content"] for message in messages]


@dataclass(frozen=True, slots=True)
class _Waiter:
    turn: asyncio.Future[None]
    tokens: int


class Admission:
    """A bounded queue in front of `running` places: `waiting` requests at most, of `waiting_tokens` tokens together.

    First come, first served. A waiter that is cancelled frees its place in the queue. A place is held until its context ends: of a
    stream, until it has ended.
    """

    def __init__(self, *, running: int, waiting: int, waiting_tokens: int = UNBOUNDED) -> None:
        self._places = running
        self._max_waiting = waiting
        self._max_tokens = waiting_tokens
        self._queue: deque[_Waiter] = deque()
        self._closed = False
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def tokens_waiting(self) -> int:
        return sum(waiter.tokens for waiter in self._queue)

    @asynccontextmanager
    async def place(self, tokens: int = 0, deadline: Deadline = NEVER) -> AsyncIterator[None]:
        """Hold one place for as long as the context lasts.

        Raises Overloaded when the queue is full or the deadline passes in it, EngineUnavailable when the queue is closed.
        """
        if self._closed:
            raise _closing()
        if self._queue or self.running >= self._places:
            await self._wait(tokens, deadline)
        else:
            self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._call_next()

    async def _wait(self, tokens: int, deadline: Deadline) -> None:
        """Wait for a place that another hands over; it is counted as running when this returns."""
        self._refuse_when_full(tokens)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), tokens)
        self._queue.append(waiter)
        try:
            async with asyncio.timeout(deadline.left()):
                await waiter.turn
        except (TimeoutError, asyncio.CancelledError) as left:
            if waiter in self._queue:
                self._queue.remove(waiter)
            elif waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self.running -= 1  # called up just as it left
                self._call_next()
            if isinstance(left, TimeoutError):
                raise Overloaded("the deadline passed while the request waited for a place", retry_after_s=RETRY_AFTER_S) from None
            raise

    def _refuse_when_full(self, tokens: int) -> None:
        if len(self._queue) >= self._max_waiting:
            raise Overloaded(f"{self.running} loops run and {self.waiting} wait: the queue is full", retry_after_s=RETRY_AFTER_S)
        if self._queue and self.tokens_waiting + tokens > self._max_tokens:
            raise Overloaded(
                f"{self.waiting} loops wait that may take {self.tokens_waiting} tokens: with the {tokens} of this one the queue would hold "
                f"more than {self._max_tokens}",
                retry_after_s=RETRY_AFTER_S,
            )

    def _call_next(self) -> None:
        while self._queue and self.running < self._places:
            waiter = self._queue.popleft()
            if not waiter.turn.done():
                self.running += 1
                waiter.turn.set_result(None)

    def close(self) -> None:
        """Let nobody in any more: who waits or comes is refused with 503. Who runs goes on."""
        self._closed = True
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.turn.done():
                waiter.turn.set_exception(_closing())


def _closing() -> EngineUnavailable:
    return EngineUnavailable("this server is shutting down: ask another", retry_after_s=RETRY_AFTER_S)
