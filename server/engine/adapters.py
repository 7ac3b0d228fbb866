"""vLLM as a host of adapters: loads, unloads and counts requests through its own model list and engine client, in the same process."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from starlette.datastructures import State
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.lora.protocol import LoadLoRAAdapterRequest
from vllm.v1.engine.exceptions import EngineDeadError

from redraft.errors import EngineUnavailable
from server.adapters import parts
from server.adapters.base import Base
from server.adapters.errors import Check, Refused
from server.adapters.parts import Adapters
from server.adapters.series import AdapterSeries
from server.config import ServeSettings
from server.engine import alora

RETRY_AFTER_S = 10.0


class VllmAdapterHost:
    """`slots` leaves out what `--lora-modules` loaded. No name is ever loaded a second time in place: vLLM keeps its old KV blocks."""

    def __init__(self, state: State) -> None:
        self._models = state.openai_serving_models
        self._client = state.engine_client
        self.slots: int = state.vllm_config.lora_config.max_cpu_loras - len(self._models.lora_requests)

    async def load(self, name: str, path: Path) -> None:
        if name in self._models.lora_requests:
            return
        try:
            reply = await self._models.load_lora_adapter(LoadLoRAAdapterRequest(lora_name=name, lora_path=str(path)))
            if isinstance(reply, ErrorResponse):
                await self._client.check_health()
                raise Refused(Check.LOAD, f"the engine says: {reply.error.message[:500]}")
        except EngineDeadError as error:
            raise EngineUnavailable("the engine is not running", retry_after_s=RETRY_AFTER_S) from error

    async def unload(self, name: str) -> None:
        """Take the name away, then its slot. A request that still has it would read our copy again, never other weights."""
        request = self._models.lora_requests.pop(name, None)
        self._models.lora_resolver_lock.pop(name, None)
        if request is None:
            return
        try:
            await self._client.remove_lora(request.lora_int_id)
        except EngineDeadError as error:
            raise EngineUnavailable("the engine is not running", retry_after_s=RETRY_AFTER_S) from error

    def in_flight(self, name: str) -> int:
        return sum(request.lora_name == name for request in self._client.output_processor.request_states.values())


def base_of(state: State) -> Base:
    """The served model. Its files are looked for where vLLM has them: in a folder, or in the hub's cache."""
    config: Any = state.vllm_config.model_config
    names = [path.name for path in state.openai_serving_models.base_model_paths] + list(state.openai_serving_models.lora_requests)
    rank = state.vllm_config.lora_config.max_lora_rank
    folder = _folder(config.model, config.revision)
    return Base(names, config.hf_text_config.to_dict(), max_rank=rank, folder=folder, no_activation=alora.missing())


def _folder(model: str, revision: str | None) -> Path | None:
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def build(state: State, args: Namespace, settings: ServeSettings, series: AdapterSeries) -> Adapters | None:
    """None when the engine was started without LoRA, or answers through several server processes, which do not share a registry."""
    if state.vllm_config.lora_config is None or (args.api_server_count or 1) > 1:
        return None
    model = state.vllm_config.model_config.model
    return parts.build(settings.adapters, VllmAdapterHost(state), base_of(state), series, model=model, at=args.uds or args.port)
