"""The server's end of the line to its supervisor: one byte, now and again, for as long as the server is live. The first is answered."""

from __future__ import annotations

import asyncio
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
            # A full line says enough; a broken one that nobody listens any more.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._fd, b".")

    async def take_over(self) -> None:
        """The first beat, before the server accepts its first connection: returns when the stand-in takes no more of them.

        Without that, both would accept at the one listening socket for a moment, and a server that has called itself ready would seem
        to be starting.
        """
        if self._fd is None:
            return
        answered, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(self._fd, answered.set)  # a supervisor that is gone closes the line: that reads, too
        try:
            self()
            await answered.wait()
        finally:
            loop.remove_reader(self._fd)
