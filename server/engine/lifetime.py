"""The engine's life and its server's end, at vLLM's engine client: a probe that shows progress, and a drain before the shutdown."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

from vllm.engine.protocol import EngineClient
from vllm.v1.engine.exceptions import EngineDeadError

from redraft.errors import EngineUnavailable
from server.drain import Drain
from server.vitals import Probe

RETRY_AFTER_S = 10.0


def probe(client: EngineClient) -> Probe:
    """Asks every worker whether it is well. The engine core hears it between two steps and waits for the workers' answers: when one
    comes, the steps before it are done. No time limit inside: an answer that nobody takes would be taken for the next one's."""

    async def ask() -> None:
        asking = asyncio.ensure_future(client.collective_rpc("check_health"))
        try:
            await asyncio.wait({asking})
        finally:
            asking.cancel()
        error = asking.exception()
        if error is not None:
            said = "is not running" if isinstance(error, EngineDeadError) else f"does not answer its probe: {error}"
            raise EngineUnavailable(f"the engine {said}", retry_after_s=RETRY_AFTER_S) from error

    return ask


def drain_first(client: Any, drain: Drain) -> None:
    """On SIGTERM and SIGINT vLLM's launcher shuts the engine client down, in a thread, and then the HTTP server. Here that thread waits
    for the drain first, while the server goes on answering. vLLM also shuts the client down from the event loop, at the very end; that
    passes through, as does a shutdown of a dead engine."""
    loop, of_loop, shutdown = asyncio.get_running_loop(), threading.get_ident(), client.shutdown

    async def drained() -> None:
        for kind in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(kind, drain.hurry)  # vLLM itself has no use for a second one
        await drain.run()

    def shut_down(*args: Any, **kwargs: Any) -> None:
        if threading.get_ident() != of_loop and not drain.begun and loop.is_running() and not client.errored:
            asyncio.run_coroutine_threadsafe(drained(), loop).result()
        shutdown(*args, **kwargs)

    client.shutdown = shut_down
