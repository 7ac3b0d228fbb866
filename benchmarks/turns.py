"""Engines and servers that are up side by side take turns: whoever is not measured is stopped (SIGSTOP)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Stoppable(Protocol):
    """All processes of a server or an engine, as one."""

    def signal(self, kind: signal.Signals) -> None: ...


@contextmanager
def turn_of(one: Stoppable) -> Iterator[None]:
    """It runs within the context, and is stopped after it."""
    one.signal(signal.SIGCONT)
    try:
        yield
    finally:
        one.signal(signal.SIGSTOP)
