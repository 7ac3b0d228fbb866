"""The `vllm.endpoint_plugins` entry: adds the loop's routes to vLLM's own OpenAI app. Nothing of vLLM's surface is taken away.

`/v1/chat/completions` and `/v1/models` are wrapped: requests for `NAME:loop` go to the loop, all others to vLLM's own handler.
"""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import State
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion import api_router as vllm_chat
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.utils.api_utils import validate_json_request

from redraft.errors import RedraftError
from server import ready, services
from server.admission import Admission
from server.app import attach_routes
from server.config import ServeSettings
from server.engine.chat import VllmEngine
from server.errors import response_of
from server.routes import chat
from server.telemetry import Telemetry

CATALOG_TTL_S = 0.0
"""In-process, asking costs nothing."""


def settings_of(args: Namespace) -> ServeSettings:
    """What `redraft serve` put there; under a bare vLLM server, the environment's."""
    found = getattr(args, "redraft", None)
    return found if isinstance(found, ServeSettings) else ServeSettings()


def within(settings: ServeSettings, context: int) -> ServeSettings:
    """Defaults for responses and critiques that leave half of the model's context (in tokens) to the prompt."""
    loop, most = settings.loop, context // 2
    bounded = {"response_tokens": min(loop.response_tokens, most), "critique_tokens": min(loop.critique_tokens, most)}
    return settings.model_copy(update={"loop": loop.model_copy(update=bounded)})


class RedraftEndpoints:
    """vLLM's EndpointPlugin protocol."""

    name = "redraft"
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        attach_routes(app, settings_of(app.state.args))
        _wrap_chat(app)
        _wrap_models(app)

    async def init_state(self, engine_client: EngineClient | None, state: State, args: Namespace) -> None:
        settings = within(settings_of(args), state.vllm_config.model_config.max_model_len)
        limits = settings.limits
        admission = Admission(running=limits.loops, waiting=limits.waiting)
        parts = services.assemble(
            state, settings, VllmEngine(state), catalog_ttl_s=CATALOG_TTL_S, telemetry=Telemetry(admission), admission=admission
        )
        state.redraft_announcement = asyncio.create_task(ready.announce(parts, host=args.host, port=args.port, tls=bool(args.ssl_certfile)))


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
        """The served models and adapters, and each once more as `NAME:loop`."""
        listed: dict[str, Any] = (await raw_request.app.state.openai_serving_models.show_available_models()).model_dump()
        loops = [{**model, "id": model["id"] + services.LOOP_SUFFIX, "parent": model["id"]} for model in listed["data"]]
        return JSONResponse({**listed, "data": [*listed["data"], *loops]})
