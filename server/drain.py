"""How a server goes away: nobody new comes in, who is in may finish within the grace, then loops stop with their best answer so far."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from redraft.errors import EngineUnavailable, RedraftError
from redraft.halt import Halt
from server.admission import Admission
from server.errors import response_of
from server.vitals import Vitals

RETRY_AFTER_S = 2.0
FLUSH_S = 5.0
"""So long may the last answers take to be sent, once the grace is over."""
POLL_S = 0.05
ALWAYS_OPEN = frozenset({"/health", "/health/live", "/health/ready", "/ping", "/metrics"})
"""Probes and metrics: answered whatever the server's state, and waited for by nobody."""


class Drain:
    """`halt` stops the running loops, `present` counts the requests that are being answered."""

    def __init__(self, admission: Admission, halt: Halt, *, grace_s: float) -> None:
        self.begun = False
        self.present = 0
        self._admission = admission
        self._halt = halt
        self._grace_s = grace_s
        self._hurried = False

    async def run(self) -> None:
        """Returns when everybody has left, or FLUSH_S seconds after the grace."""
        self.begun = True
        self._admission.close()
        await self._empty(self._grace_s)
        self._halt.now()
        self._hurried = False
        await self._empty(FLUSH_S)

    def hurry(self) -> None:
        """End the grace, or the wait that follows it, now."""
        self._hurried = True

    def refusal(self) -> RedraftError | None:
        """What newcomers are told; None while they may come in."""
        return EngineUnavailable("this server is shutting down: ask another", retry_after_s=RETRY_AFTER_S) if self.begun else None

    async def _empty(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (self.present or self._admission.running) and not self._hurried and time.monotonic() < until:  # noqa: ASYNC110 - many things change
            await asyncio.sleep(POLL_S)


class Door:
    """ASGI middleware: refuses work, with 503 and Retry-After, while the server drains or its own engine is not well."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].rstrip("/") in ALWAYS_OPEN:
            await self.app(scope, receive, send)
            return
        parts = scope["app"].state.redraft
        drain: Drain = parts.drain
        vitals: Vitals = parts.vitals
        refusal = drain.refusal() or (vitals.fault() if vitals.own else None)
        if refusal is not None:
            await response_of(refusal)(scope, receive, send)
            return
        drain.present += 1
        try:
            await self.app(scope, receive, send)
        finally:
            drain.present -= 1
