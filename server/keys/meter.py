"""How much one key asks for: requests and tokens a minute, loops at once. Kept in memory, of one process. Knows no HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from redraft.errors import Overloaded
from server.keys.key import KeyLimits

MINUTE_S = 60.0
LOOP_RETRY_S = 2.0


class Bucket:
    """A minute's worth that flows back evenly. It may go below zero: what is known only afterwards is taken all the same."""

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(a_minute)
        self._rate = a_minute / MINUTE_S
        self._clock = clock
        self._level, self._at = self._most, clock()

    def wait_s(self, wanted: float) -> float:
        """Seconds until `wanted` is there; 0 when it is."""
        now = self._clock()
        self._level, self._at = min(self._most, self._level + (now - self._at) * self._rate), now
        return max(0.0, (min(wanted, self._most) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Take out, or give back what is below zero."""
        self._level = min(self._most, self._level - amount)


class Meter:
    def __init__(self, limits: KeyLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._requests = None if limits.requests is None else Bucket(limits.requests, clock)
        self._tokens = None if limits.tokens is None else Bucket(limits.tokens, clock)
        self._loops = 0

    @property
    def counts_tokens(self) -> bool:
        return self._tokens is not None

    def request(self) -> None:
        """Count one request. Raises Overloaded that says when there is room for it."""
        if self._requests is None:
            return
        if (wait := self._requests.wait_s(1)) > 0:
            raise Overloaded(f"this API key may send {self._limits.requests} requests a minute", retry_after_s=_whole(wait))
        self._requests.take(1)

    def reserve(self, tokens: int) -> None:
        """Count tokens that a request is expected to take. It is let in while anything is left. Raises Overloaded."""
        if self._tokens is None:
            return
        if (wait := self._tokens.wait_s(1)) > 0:
            raise Overloaded(f"this API key may take {self._limits.tokens} tokens a minute", retry_after_s=_whole(wait))
        self._tokens.take(tokens)

    def settle(self, reserved: int, used: int) -> None:
        """Correct a reservation by what was used."""
        if self._tokens is not None:
            self._tokens.take(used - reserved)

    @contextmanager
    def loop(self) -> Iterator[None]:
        """Hold one of the key's places for loops. Raises Overloaded when all are taken."""
        most = self._limits.parallel
        if most is not None and self._loops >= most:
            raise Overloaded(f"this API key may run {most} loops at once", retry_after_s=LOOP_RETRY_S)
        self._loops += 1
        try:
            yield
        finally:
            self._loops -= 1


def _whole(seconds: float) -> float:
    return float(math.ceil(seconds))
