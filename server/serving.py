"""uvicorn for the standalone app: a signal drains first. The second one ends the grace, the third one everything."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from server import services
from server.drain import FLUSH_S, Drain

STOPPING = (signal.SIGTERM, signal.SIGINT)
STARTUP_FAILED = 3


class DrainingServer(uvicorn.Server):
    """Exits with 0 after a drain, where uvicorn would die of the signal it caught."""

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handlers on the event loop, in place of uvicorn's own, which would stop it listening at once."""
        loop = asyncio.get_running_loop()
        for kind in STOPPING:
            loop.add_signal_handler(kind, self._stop)
        yield
        for kind in STOPPING:
            loop.remove_signal_handler(kind)

    def _stop(self) -> None:
        if self.should_exit:
            self.force_exit = True
        elif self._draining is None:
            self._draining = asyncio.create_task(self._drained())
        else:
            self._drain.hurry()

    async def _drained(self) -> None:
        await self._drain.run()
        self.should_exit = True


def serve(app: FastAPI, *, host: str, port: int) -> None:
    """Serve until a signal, then drain."""
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=int(FLUSH_S))
    server = DrainingServer(config, services.of_app(app).drain)
    server.run()
    if not server.started:
        raise SystemExit(STARTUP_FAILED)
