"""Hard limits for one loop: generated tokens, engine calls, wall-clock. Knows nothing of what the calls are for.

Tokens are reserved before a call and given back after it, so parallel calls together never exceed the limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from redraft.types import Stop

MIN_CALL_TOKENS = 8
"""A completion shorter than this says nothing: rather stop."""


class Exhausted(Exception):
    """A limit is met; `stop` says which."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.value)
        self.stop = stop


class Budget:
    """What is left for one loop. `max_tokens` counts generated tokens of all stages, cancelled work included."""

    def __init__(self, *, max_tokens: int, max_calls: int, deadline_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = max_tokens
        self._calls = max_calls
        self._clock = clock
        self.started = clock()
        self.deadline = None if deadline_s is None else self.started + deadline_s

    @property
    def tokens_left(self) -> int:
        return self._tokens

    def elapsed(self) -> float:
        return self._clock() - self.started

    def reserve(self, *, want: int, n: int = 1, calls: int = 1) -> tuple[int, int]:
        """Reserve `calls` engine calls for `n` completions of at most `want` tokens; return `(n, tokens per completion)` that fit.

        Fewer completions are granted before shorter ones become useless. Raises Exhausted where nothing fits.
        """
        if self.deadline is not None and self._clock() >= self.deadline:
            raise Exhausted(Stop.DEADLINE)
        if self._calls < calls:
            raise Exhausted(Stop.MAX_CALLS)
        need = min(want, MIN_CALL_TOKENS)
        if self._tokens < need:
            raise Exhausted(Stop.MAX_TOKENS)
        n = max(1, min(n, self._tokens // need))
        each = min(want, self._tokens // n)
        self._calls -= calls
        self._tokens -= n * each
        return n, each

    def take_call(self) -> bool:
        """Take one more engine call for tokens that are reserved already; False when none is left."""
        if self._calls < 1:
            return False
        self._calls -= 1
        return True

    def settle(self, *, reserved: int, used: int) -> None:
        """Give back what a finished or cancelled call did not use."""
        self._tokens += reserved - used
