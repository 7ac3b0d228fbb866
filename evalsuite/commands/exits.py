"""Exit codes of `evalsuite`, for CI to tell one failure from another."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    USAGE = 2
    """An option, a file or the server's refusal: nothing was measured."""
    BELOW_ACCURACY = 3
    ABOVE_LATENCY = 4
    INFRASTRUCTURE = 5
    """Too many problems got no answer from the infrastructure: the accuracy means nothing."""
    INTERRUPTED = 130
