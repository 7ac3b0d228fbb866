"""The server's end of the pipe to its supervisor: one byte, now and again, for as long as the server is live."""

from __future__ import annotations

import contextlib
import os

VARIABLE = "REDRAFT_BEAT_FD"
"""Names the file descriptor in the server's environment."""


class Beat:
    """Does nothing where there is no supervisor."""

    def __init__(self) -> None:
        given = os.environ.get(VARIABLE)
        self._fd = None if given is None else int(given)
        if self._fd is not None:
            os.set_blocking(self._fd, False)

    def __call__(self) -> None:
        if self._fd is not None:
            # A full pipe says enough; a broken one that nobody listens any more.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._fd, b".")
