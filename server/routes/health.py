"""Probes: `/health/live` says that this server is worth keeping, `/health/ready` that it takes work. Both by the engine's progress."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from redraft.errors import RedraftError
from server import services
from server.errors import Route
from server.routes import adapters

router = APIRouter(route_class=Route, tags=["health"])


ASK_S = 3.0
"""Less than probes wait by themselves, so that they get the reason."""


def _not(state: str, reason: str) -> Response:
    return JSONResponse({"status": f"not {state}", "reason": reason}, status_code=503, headers={"Retry-After": "5"})


@router.get("/health/live", response_model=None)
async def live(request: Request) -> Response:
    """503 when an engine of this process is dead or hangs: only a restart helps. A remote engine is not this server's life."""
    vitals = services.of(request).vitals
    fault = vitals.fault() if vitals.own else None
    return JSONResponse({"status": "live"}) if fault is None else _not("live", fault.message)


@router.get("/health/ready", response_model=None)
async def ready(request: Request) -> Response:
    """200 with the served models, or 503 with the reason. Adapters that are declared and not served yet are told, and no reason for 503."""
    parts = services.of(request)
    fault = parts.drain.refusal() or parts.vitals.fault()
    if fault is not None:
        return _not("ready", fault.message)
    try:
        async with asyncio.timeout(ASK_S):
            names = await parts.engine.models()
    except TimeoutError:
        return _not("ready", f"the engine did not answer within {ASK_S:g} s")
    except RedraftError as error:
        return _not("ready", error.message)
    body = {"status": "ready", "models": parts.catalog.shown(names), "running": parts.admission.running, "waiting": parts.admission.waiting}
    if parts.adapters is not None:
        body["adapters"] = adapters.report(parts.adapters)
    return JSONResponse(body)
