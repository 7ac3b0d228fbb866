"""When the next request may leave: so many a minute, and none before the time that an endpoint named. Knows no endpoint."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_S = 60.0


class Pace:
    """Requests leave at even distances, `per_minute` of them. All callers share one pace."""

    def __init__(
        self,
        per_minute: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = clock()
        self._held = self._next

    async def turn(self) -> None:
        """Wait until a request may leave. Whoever waits while all are held takes a new place afterwards."""
        while True:
            now = self._clock()
            leaves = max(now, self._next, self._held)
            self._next = leaves + self._gap
            if leaves > now:
                await self._sleep(leaves - now)
            if self._held <= max(self._clock(), leaves):
                return

    def hold(self, seconds: float) -> None:
        """Let nobody leave for so long: the endpoint asked for it."""
        self._held = max(self._held, self._clock() + seconds)

    async def rest(self, attempt: int, first_s: float) -> None:
        """Wait before a request is tried again: twice as long each time, and not all at the same moment."""
        await self._sleep(min(first_s * 2**attempt, LONGEST_S) * random.uniform(0.5, 1.0))


def retry_after(header: str, now: datetime | None = None) -> float | None:
    """The seconds that a `Retry-After` header asks to wait: it has a number or a date."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - (now or datetime.now(UTC))).total_seconds())
