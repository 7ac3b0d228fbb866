"""The last change of each alias that has not succeeded: under way, or failed and why."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from redraft.errors import RedraftError
from server.adapters.errors import Refused
from server.adapters.slots import State

FAILED_KEPT = 64
"""Aliases that never served and whose failure is remembered."""


@dataclass(slots=True)
class Attempt:
    source: str
    state: State
    reason: str | None = None
    check: str | None = None

    def fail(self, error: RedraftError) -> None:
        self.state, self.reason = State.FAILED, error.message
        self.check = error.check.value if isinstance(error, Refused) else None


class Attempts:
    """By alias. Iterates over the aliases."""

    def __init__(self) -> None:
        self._of: dict[str, Attempt] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def get(self, alias: str) -> Attempt | None:
        return self._of.get(alias)

    def begin(self, alias: str, source: str, *, served: Container[str]) -> Attempt:
        """A new attempt. Of those that failed, and whose alias is not `served`, only the latest are remembered."""
        attempt = self._of[alias] = Attempt(source, State.ADMITTING)
        strangers = [name for name, old in self._of.items() if name not in served and old.state is State.FAILED]
        for oldest in strangers[:-FAILED_KEPT]:
            del self._of[oldest]
        return attempt

    def failed(self, alias: str, source: str, error: RedraftError) -> None:
        """An attempt that nobody asked for just now: what was served before a restart."""
        attempt = self._of[alias] = Attempt(source, State.FAILED)
        attempt.fail(error)

    def done(self, alias: str, attempt: Attempt) -> None:
        """It has succeeded: forgotten, unless a later one took its place."""
        if self._of.get(alias) is attempt:
            del self._of[alias]

    def forget(self, alias: str) -> bool:
        """True when there was one."""
        return self._of.pop(alias, None) is not None

    def count(self, state: State) -> int:
        return sum(attempt.state is state for attempt in self._of.values())
