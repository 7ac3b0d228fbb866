"""The `vllm.endpoint_plugins` entry: adds the loop's routes to vLLM's own OpenAI app. Nothing of vLLM's surface is taken away.

`/v1/chat/completions` and `/v1/models` are wrapped: requests for `NAME:loop` go to the loop, all others to vLLM's own handler.
"""

from __future__ import annotations

import asyncio
import json
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import State
from vllm.config import VllmConfig
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion import api_router as vllm_chat
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.utils.api_utils import validate_json_request
from vllm.logger import init_logger
from vllm.v1.metrics.prometheus import get_prometheus_registry

from redraft import calibration
from redraft.errors import RedraftError
from server import ready, services
from server.adapters.parts import Adapters
from server.admission import Admission
from server.app import attach_routes
from server.config import CalibrationSetting, ServeSettings
from server.engine import adapters as host
from server.engine import lifetime
from server.engine.chat import VllmEngine
from server.errors import response_of
from server.routes import adapters, chat, metrics
from server.share import part_of
from server.telemetry import Telemetry

CATALOG_TTL_S = 0.0
"""In-process, asking costs nothing."""


def settings_of(args: Namespace) -> ServeSettings:
    """What `redraft serve` put there; under a bare vLLM server, the environment's, and vLLM's own keys."""
    found = getattr(args, "redraft", None)
    if isinstance(found, ServeSettings):
        return found
    bare = ServeSettings()
    theirs = args.api_key or [os.environ.get("VLLM_API_KEY", "")]
    return bare.model_copy(update={"api_key": [*bare.api_key, *filter(None, theirs)]})


def with_calibrations(settings: ServeSettings, args: Namespace) -> ServeSettings:
    """The settings with what `redraft calibrate` put beside the weights of `--lora-modules`; what the settings say themselves wins."""
    found = {}
    for module in args.lora_modules or ():
        path = Path(module.path) / calibration.FILE
        if path.is_file():
            found[module.name] = CalibrationSetting.read(path)
    return settings.model_copy(update={"calibrations": found | settings.calibrations})


def within(settings: ServeSettings, context: int) -> ServeSettings:
    """Defaults for responses and critiques that leave half of the model's context (in tokens) to the prompt."""
    loop, most = settings.loop, context // 2
    bounded = {"response_tokens": min(loop.response_tokens, most), "critique_tokens": min(loop.critique_tokens, most)}
    return settings.model_copy(update={"loop": loop.model_copy(update=bounded)})


def sharing(settings: ServeSettings, config: VllmConfig) -> ServeSettings:
    """Settings with a cap on what loops have under way at once, below what all engines write side by side."""
    if settings.limits.in_flight is not None:
        return settings
    sequences = config.scheduler_config.max_num_seqs * config.parallel_config.data_parallel_size
    return settings.model_copy(update={"limits": settings.limits.model_copy(update={"in_flight": part_of(sequences)})})


def not_shared(args: Namespace) -> str | None:
    """What several API server processes of one bare vLLM do each for themselves; None where there is one. Ours is one always."""
    processes = args.api_server_count or 1
    if processes == 1:
        return None
    return (
        f"{processes} API server processes: limits of keys, the queue of loops, their share of the engine and replays of `Idempotency-Key` "
        "are of each by itself, and adapters cannot be swapped; `redraft serve` starts one (docs/scale.md)"
    )


class RedraftEndpoints:
    """vLLM's EndpointPlugin protocol."""

    name = "redraft"
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        args = app.state.args
        attach_routes(app, settings_of(args), bind=f"unix:{args.uds}" if args.uds else args.host)
        _wrap_chat(app)
        _wrap_models(app)
        app.include_router(adapters.vllm_router)
        metrics.attach(app, get_prometheus_registry())

    async def init_state(self, engine_client: EngineClient | None, state: State, args: Namespace) -> None:
        assert engine_client is not None  # there is one for `required_tasks`
        if (warning := not_shared(args)) is not None:
            init_logger("vllm.plugins.redraft").warning(warning)
        config = state.vllm_config
        settings = sharing(within(with_calibrations(settings_of(args), args), config.model_config.max_model_len), config)
        limits = settings.limits
        admission = Admission(running=limits.loops, waiting=limits.waiting, waiting_tokens=limits.waiting_tokens)
        telemetry = Telemetry(admission)
        hosted = host.build(state, args, settings, telemetry.adapters)
        parts = services.assemble(
            state,
            settings,
            VllmEngine(state),
            catalog_ttl_s=CATALOG_TTL_S,
            telemetry=telemetry,
            admission=admission,
            adapters=hosted,
            probe=lifetime.probe(engine_client),
        )
        lifetime.drain_first(engine_client, parts.drain)
        if hosted is not None:
            state.redraft_reconciler = await hosted.start()
        state.redraft_watch = asyncio.create_task(parts.vitals.watch())
        told = ready.announce(parts, host=args.host, port=args.port, tls=bool(args.ssl_certfile), uds=args.uds)
        state.redraft_announcement = asyncio.create_task(told)
        await parts.beat.take_over()


def _wrap_chat(app: FastAPI) -> None:
    @app.post("/v1/chat/completions", dependencies=[Depends(validate_json_request)], tags=["OpenAI"], response_model=None)
    async def create_chat_completion(request: ChatCompletionRequest, raw_request: Request) -> Response:
        """OpenAI chat; with the model `NAME:loop`, the whole solve -> critique -> revise loop."""
        if not chat.is_loop(request.model):
            return await vllm_chat.create_chat_completion(request, raw_request)
        try:
            return await chat.chat_loop(json.loads(await raw_request.body()), raw_request)
        except RedraftError as error:
            return response_of(error)


def _wrap_models(app: FastAPI) -> None:
    @app.get("/v1/models", tags=["OpenAI"], response_model=None)
    async def show_available_models(raw_request: Request) -> Response:
        """The served models and adapters, each once more as `NAME:loop`, and the adapters' revisions."""
        listed: dict[str, Any] = (await raw_request.app.state.openai_serving_models.show_available_models()).model_dump()
        named, revisions = _by_alias(listed["data"], services.of(raw_request).adapters)
        loops = [{**model, "id": model["id"] + services.LOOP_SUFFIX, "parent": model["id"]} for model in named]
        return JSONResponse({**listed, "data": [*named, *revisions, *loops]})


def _by_alias(cards: list[dict[str, Any]], hosted: Adapters | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Models, static adapters and aliases; then the revisions that may be asked for by name."""
    if hosted is None:
        return cards, []
    registry = hosted.registry
    by_id = {card["id"]: card for card in cards}
    plain = [card for card in cards if not registry.is_revision(card["id"])]
    aliases = [{**by_id[current], "id": alias} for alias, current in registry.aliases.items() if current in by_id]
    return [*plain, *aliases], [by_id[revision.name] for revision in registry.serving() if revision.name in by_id]
