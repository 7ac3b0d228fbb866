"""Probes: `/health/live` says that this process answers, `/health/ready` that its engine does."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from redraft.errors import RedraftError
from server import services
from server.errors import Route
from server.routes import adapters

router = APIRouter(route_class=Route, tags=["health"])


@router.get("/health/live", response_model=None)
async def live() -> Response:
    return JSONResponse({"status": "live"})


@router.get("/health/ready", response_model=None)
async def ready(request: Request) -> Response:
    """200 with the served models, or 503 with the reason. Adapters that are declared and not served yet are told, and no reason for 503."""
    parts = services.of(request)
    try:
        names = await parts.engine.models()
    except RedraftError as error:
        return JSONResponse({"status": "not ready", "reason": error.message}, status_code=503, headers={"Retry-After": "5"})
    body = {"status": "ready", "models": parts.catalog.shown(names), "running": parts.admission.running, "waiting": parts.admission.waiting}
    if parts.adapters is not None:
        body["adapters"] = adapters.report(parts.adapters)
    return JSONResponse(body)
