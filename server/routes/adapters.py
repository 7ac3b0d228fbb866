"""`/adapters`: load, swap, roll back, take away and list adapters; and vLLM's own two routes for it, through the same admission."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import Field, model_validator

from redraft.errors import BadRequest
from server import services
from server.adapters.errors import Conflict, NotOffered, UnknownAdapter
from server.adapters.parts import Adapters
from server.adapters.registry import Registry
from server.errors import Route
from server.routes.schema import Strict

router = APIRouter(route_class=Route, tags=["adapters"])
vllm_router = APIRouter(route_class=Route, tags=["adapters"])
"""vLLM's names for the same. Over a remote engine they are the engine's own."""


NOT_ACTIVATED = {"activated": False, "fallback": None}


class NewAdapter(Strict):
    name: str
    source: str = Field(max_length=4096)
    canary: float | None = Field(None, ge=0, le=100, description="Share of conversations, in per cent; without it the alias is swapped.")


class Change(Strict):
    """One of `source`, `revision`, `rollback`, `promote`; `canary` beside a source or a revision, or alone."""

    source: str | None = Field(None, max_length=4096)
    revision: str | None = Field(None, max_length=200)
    canary: float | None = Field(None, ge=0, le=100)
    rollback: bool = False
    promote: bool = False
    why: dict[str, Any] | None = Field(None, description="Kept in the history of a promotion.")

    @model_validator(mode="after")
    def _one_thing(self) -> Change:
        asked = [self.source is not None, self.revision is not None, self.rollback, self.promote]
        if sum(asked) > 1 or not (any(asked) or self.canary is not None):
            raise ValueError("give one of `source`, `revision`, `rollback`, `promote`, or `canary`")
        if self.canary is not None and (self.rollback or self.promote):
            raise ValueError("`canary` goes with `source` or `revision`, or alone")
        if self.why is not None and not self.promote:
            raise ValueError("`why` goes with `promote`")
        return self


class VllmLoad(Strict):
    lora_name: str
    lora_path: str = Field(max_length=4096)
    load_inplace: bool = False
    is_3d_lora_weight: bool = False


class VllmUnload(Strict):
    lora_name: str
    lora_int_id: int | None = None


def of(request: Request) -> Adapters:
    found = services.of(request).adapters
    if found is None:
        raise NotOffered(
            "this server manages no adapters: it runs over a remote engine, without --enable-lora, or with several API server processes"
        )
    return found


def body_of(registry: Registry, alias: str) -> dict[str, Any]:
    """One alias as JSON. Raises UnknownAdapter."""
    route, attempt = registry.route(alias), registry.attempt(alias)
    if route is None and attempt is None:
        raise UnknownAdapter(f"there is no adapter `{alias[:80]}`", param="name")
    held = [
        {
            "revision": revision.name,
            "state": state.value,
            "sha256": revision.sha256,
            "source": revision.source,
            "manifest": revision.manifest if revision.manifest is not None else "none",
            "calibration": revision.calibration,
            **(revision.activation or NOT_ACTIVATED),
            "in_flight": in_flight,
        }
        for revision, state, in_flight in registry.revisions(alias)
    ]
    canary = {"revision": route.canary, "percent": route.percent} if route is not None and route.canary is not None else None
    tried = {"source": attempt.source, "state": attempt.state.value, "check": attempt.check, "reason": attempt.reason} if attempt else None
    return {
        "name": alias,
        "object": "redraft.adapter",
        "state": registry.state(alias).value,
        "revision": None if route is None else route.current,
        "previous": None if route is None else route.previous,
        "canary": canary,
        "declared": route is not None and route.owner == "file",
        "revisions": held,
        "attempt": tried,
    }


def report(adapters: Adapters) -> dict[str, Any]:
    """For `/health/ready`: what each alias serves, and whether that is what the file declares."""
    problems = [{"adapter": problem.adapter, "reason": problem.reason} for problem in adapters.problems]
    return {"converged": adapters.converged, "serving": adapters.registry.aliases, "problems": problems}


@router.get("/adapters", summary="All adapters", response_model=None)
async def show_all(request: Request) -> Response:
    registry = of(request).registry
    return JSONResponse({"object": "list", "data": [body_of(registry, alias) for alias in registry.names()]})


@router.get("/adapters/{adapter_name}", summary="One adapter, with its history", response_model=None)
async def show(adapter_name: str, request: Request) -> Response:
    registry = of(request).registry
    body = body_of(registry, adapter_name)
    return JSONResponse({**body, "history": await asyncio.to_thread(registry.history, adapter_name)})


@router.post("/adapters", summary="Load an adapter, or swap one", status_code=201, response_model=None)
async def load(body: NewAdapter, request: Request) -> Response:
    """Answers when the adapter serves. An alias that is there is swapped; with `canary`, the new revision gets a share of it."""
    registry = of(request).registry
    await registry.put(body.name, body.source, canary=body.canary)
    return JSONResponse(body_of(registry, body.name), status_code=201)


@router.put("/adapters/{adapter_name}", summary="Swap, canary, promote, roll back", response_model=None)
async def change(adapter_name: str, body: Change, request: Request) -> Response:
    registry = of(request).registry
    if registry.route(adapter_name) is None:
        raise UnknownAdapter(f"there is no adapter `{adapter_name[:80]}`; POST /adapters loads one", param="name")
    if body.source is not None:
        await registry.put(adapter_name, body.source, canary=body.canary)
    elif body.revision is not None:
        await registry.point(adapter_name, body.revision, canary=body.canary)
    elif body.rollback:
        await registry.rollback(adapter_name)
    elif body.promote:
        await registry.promote(adapter_name, why=body.why)
    elif body.canary is not None:
        await registry.set_canary(adapter_name, body.canary)
    return JSONResponse(body_of(registry, adapter_name))


@router.delete("/adapters/{adapter_name}", summary="Take an adapter away", response_model=None)
async def remove(adapter_name: str, request: Request) -> Response:
    """New requests for it get 404 at once; those in flight finish, then its revisions are unloaded."""
    await of(request).registry.remove(adapter_name)
    return JSONResponse({"name": adapter_name, "object": "redraft.adapter", "deleted": True})


@vllm_router.post("/v1/load_lora_adapter", summary="As vLLM's, through admission", response_model=None)
async def load_lora_adapter(body: VllmLoad, request: Request) -> Response:
    registry = of(request).registry
    if body.is_3d_lora_weight:
        raise BadRequest("adapters of expert layers in 3D form are not served", param="is_3d_lora_weight")
    if registry.route(body.lora_name) is not None and not body.load_inplace:
        raise Conflict(f"the adapter `{body.lora_name[:80]}` is loaded; with `load_inplace` true it is swapped", param="lora_name")
    await registry.put(body.lora_name, body.lora_path)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")


@vllm_router.post("/v1/unload_lora_adapter", summary="As vLLM's", response_model=None)
async def unload_lora_adapter(body: VllmUnload, request: Request) -> Response:
    await of(request).registry.remove(body.lora_name)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")
