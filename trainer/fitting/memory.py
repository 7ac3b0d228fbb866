"""The process's memory while it trains on a CPU. Knows the C library's allocator, and nothing of training."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt, as malloc.h numbers them."""


def keep_freed() -> bool:
    """Let the allocator keep what is freed for the next step. By default large blocks go back to the system each time and are cleared
    anew, page by page, which takes about a fifth of a training step. Returns whether the C library can do so."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, 1 << 30) and mallopt(TRIM_THRESHOLD, (1 << 31) - 1))
