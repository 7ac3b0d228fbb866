"""The OpenAI surface of a server without an engine of its own: `NAME:loop` is answered here, everything else by the remote engine.

Bodies pass through untouched and streams chunk by chunk; a client that goes away closes the connection behind it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.background import BackgroundTask

from redraft.errors import BadRequest, ModelNotFound
from redraft.remote import RemoteEngine
from server import services, stream
from server.errors import Route
from server.routes import chat
from server.services import LOOP_SUFFIX

router = APIRouter(route_class=Route, tags=["OpenAI"])

PATIENT = httpx.Timeout(None, connect=5.0)
"""A whole completion sends nothing until it is done: only the client knows how long it will wait."""
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "host", "content-length", "authorization"}
)


@router.get("/health", response_model=None)
async def engine_health(request: Request) -> Response:
    return await _forward(request, "/health")


@router.get("/v1/models", response_model=None)
async def models(request: Request) -> Response:
    """The engine's models, and each once more as `NAME:loop`."""
    names = await services.of(request).engine.models()
    base: list[dict[str, Any]] = [{"id": name, "object": "model", "created": 0, "owned_by": "engine"} for name in names]
    loops = [{**model, "id": model["id"] + LOOP_SUFFIX, "parent": model["id"]} for model in base]
    return JSONResponse({"object": "list", "data": [*base, *loops]})


@router.post("/v1/chat/completions", response_model=None)
async def chat_completions(request: Request) -> Response:
    """OpenAI chat; with the model `NAME:loop`, the whole solve -> critique -> revise loop."""
    try:
        body: Any = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if isinstance(body, dict) and chat.is_loop(body.get("model")):
        return await chat.chat_loop(body, request)
    return await _forward(request, "/v1/chat/completions")


@router.api_route("/v1/{path:path}", methods=["GET", "POST", "DELETE"], response_model=None, include_in_schema=False)
async def rest(request: Request, path: str) -> Response:
    if {".", ".."} & set(path.split("/")):
        raise ModelNotFound(f"/v1/{path} is no route")
    return await _forward(request, f"/v1/{quote(path)}")


async def _forward(request: Request, path: str) -> Response:
    parts = services.of(request)
    engine = parts.engine
    assert isinstance(engine, RemoteEngine)
    own = [(name.encode(), value.encode()) for name, value in engine.headers.items()]
    headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1").lower() not in HOP_BY_HOP] + own
    outgoing = engine.client.build_request(
        request.method, engine.root + path, params=request.query_params, headers=headers, content=await request.body(), timeout=PATIENT
    )
    sending = engine.client.send(outgoing, stream=True)
    try:
        reply = await stream.until_disconnect(request, sending)
    except httpx.HTTPError as error:
        raise engine.failure(error) from error
    if reply is None:
        return Response(status_code=499)
    kept = {name: value for name, value in reply.headers.items() if name not in HOP_BY_HOP}
    return StreamingResponse(_pieces(reply), status_code=reply.status_code, headers=kept, background=BackgroundTask(reply.aclose))


async def _pieces(reply: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in reply.aiter_raw():
            yield piece
    finally:
        await reply.aclose()
