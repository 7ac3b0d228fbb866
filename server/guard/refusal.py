"""How a guard says no, over HTTP and over WebSockets."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from redraft.errors import RedraftError
from server.errors import response_of
from server.telemetry import Telemetry

POLICY_VIOLATION = 1008
"""The close code of RFC 6455 for a peer that may not come in."""


async def refuse(fault: RedraftError, scope: Scope, receive: Receive, send: Send) -> None:
    """Counted, and answered."""
    telemetry: Telemetry = scope["app"].state.redraft.telemetry
    telemetry.turned_away(fault)
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": fault.message[:120]})
        return
    await response_of(fault)(scope, receive, send)
