"""Activated LoRA in the pinned vLLM on CPU: an adapter that acts from its invocation tokens on reads the base model's KV cache before them.

vLLM 0.32 refuses such adapters. Four places are changed: its reading of PEFT's configuration, the hash of a block of the KV cache, the
adapter of each token of a step, and the check of a request. On any other version or platform nothing is touched, and `missing` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from server.engine import activation

Invocation: TypeAlias = tuple[int, ...] | None
InvocationOf: TypeAlias = Callable[[Any], Invocation]
"""The invocation tokens of a LoRARequest; None for a plain LoRA. Raises OSError where its files are gone."""
PINNED = "0.32."
KNOWN = 4096
"""Adapters whose tokens are remembered."""
PLACE, PLACES = "redraft_place", "redraft_places"


def missing() -> str | None:
    """Why the engine of this process serves no activated LoRA; None where it does."""
    from vllm.lora.peft_helper import PEFTHelper

    if getattr(PEFTHelper, "redraft_alora", False):
        return None
    return _unfit() or "the vLLM plug-in `redraft_engine` is not on (VLLM_PLUGINS)"


def _unfit() -> str | None:
    import vllm
    from vllm.platforms import current_platform

    if not vllm.__version__.startswith(PINNED):
        return f"it is made for vLLM {PINNED}*, this is {vllm.__version__}"
    if not current_platform.is_cpu():
        return f"it is verified on vLLM's CPU backend only, this is {current_platform.device_name}"
    return None


def install() -> None:
    """Change vLLM in this process, once, or say why not."""
    from vllm.logger import init_logger
    from vllm.lora.peft_helper import PEFTHelper

    if getattr(PEFTHelper, "redraft_alora", False):
        return
    reason = _unfit()
    if reason is not None:
        init_logger("vllm.plugins.redraft").info("activated LoRA is off: %s", reason)
        return
    PEFTHelper.redraft_alora = True

    @lru_cache(maxsize=KNOWN)
    def read(number: int, path: str) -> Invocation:
        from vllm.lora.utils import get_adapter_absolute_path

        return activation.invocation_of(Path(get_adapter_absolute_path(path)))

    def invocation_of(request: Any) -> Invocation:
        return read(request.lora_int_id, request.lora_path)

    _accept_configurations()
    _remember_at_load(invocation_of)
    _share_blocks(invocation_of)
    _map_tokens(invocation_of)
    _refuse_what_does_not_wake(invocation_of)


def _accept_configurations() -> None:
    from vllm.lora.peft_helper import PEFTHelper

    validate = PEFTHelper._validate_features

    def _validate_features(self: Any) -> list[str]:
        tokens, self.alora_invocation_tokens = self.alora_invocation_tokens, None
        try:
            return validate(self)
        finally:
            self.alora_invocation_tokens = tokens

    PEFTHelper._validate_features = _validate_features


def _remember_at_load(invocation_of: InvocationOf) -> None:
    """A worker knows its adapters' tokens from their loading on: their files may go after it."""
    from vllm.lora.worker_manager import WorkerLoRAManager

    load = WorkerLoRAManager._load_adapter

    def _load_adapter(self: Any, request: Any) -> Any:
        adapter = load(self, request)
        invocation_of(request)
        return adapter

    WorkerLoRAManager._load_adapter = _load_adapter


def _share_blocks(invocation_of: InvocationOf) -> None:
    """Blocks that end before an adapter acts are the base model's, for reading and for writing."""
    from vllm.v1.core import block_pool, kv_cache_utils

    generate = kv_cache_utils.generate_block_hash_extra_keys

    def generate_block_hash_extra_keys(request: Any, start: int, end: int, mm_index: int) -> tuple[Any, int]:
        keys, following = generate(request, start, end, mm_index)
        if request.lora_request is None:
            return keys, following
        return activation.block_keys(keys, start, end, _place_of(request, invocation_of)), following

    kv_cache_utils.generate_block_hash_extra_keys = generate_block_hash_extra_keys
    block_pool.generate_block_hash_extra_keys = generate_block_hash_extra_keys


def _place_of(request: Any, invocation_of: InvocationOf) -> int:
    """The place, found once and kept on the request. Where it cannot be known, no block is shared: that is always right."""
    if not hasattr(request, PLACE):
        tokens = _known(invocation_of, request.lora_request)
        prompt = request.prompt_token_ids
        setattr(request, PLACE, 0 if tokens is None or prompt is None else activation.acts_from(prompt, tokens))
    place: int = getattr(request, PLACE)
    return place


def _known(invocation_of: InvocationOf, lora: Any) -> Invocation:
    """As `invocation_of`; an adapter whose files are gone counts as plain where that only costs speed, or a check."""
    try:
        return invocation_of(lora)
    except OSError:
        return None


def _map_tokens(invocation_of: InvocationOf) -> None:
    """Tokens before the place go to the base model, in whatever batch and chunk they come."""
    from vllm.v1.worker.gpu_input_batch import InputBatch

    make = InputBatch.make_lora_inputs

    def make_lora_inputs(self: Any, scheduled: Any, sampled: Any) -> tuple[tuple[int, ...], tuple[int, ...], set[Any]]:
        prompts, tokens, requests = make(self, scheduled, sampled)
        waking = {number: found for number, lora in self.lora_id_to_lora_request.items() if (found := invocation_of(lora)) is not None}
        if not waking:
            return prompts, tokens, requests
        rows = slice(0, self.num_reqs)
        adapters, places = self.request_lora_mapping[rows], _places(self, waking)
        prompts = np.where(places < activation.NEVER, adapters, 0).repeat(sampled)
        tokens = activation.adapters_of_tokens(adapters, scheduled, self.num_computed_tokens_cpu[rows], places)
        return tuple(prompts.tolist()), tuple(tokens.tolist()), requests

    InputBatch.make_lora_inputs = make_lora_inputs


def _places(batch: Any, waking: dict[int, tuple[int, ...]]) -> activation.Ints:
    """For each request of a worker's batch the place from which its adapter acts. Found once a request, in its prompt."""
    known: dict[tuple[str, int], int] = batch.__dict__.setdefault(PLACES, {})
    places = np.zeros(batch.num_reqs, dtype=np.int64)
    for row, number in enumerate(batch.request_lora_mapping[: batch.num_reqs].tolist()):
        if number in waking:
            length = int(batch.num_prompt_tokens[row])
            key = (batch.req_ids[row], length)
            if key not in known:
                known[key] = activation.acts_from(batch.token_ids_cpu[row, :length].tolist(), waking[number])
            places[row] = known[key]
    if len(known) > 2 * batch.max_num_reqs:
        setattr(batch, PLACES, {key: place for key, place in known.items() if key[0] in batch.req_id_to_index})
    return places


def _refuse_what_does_not_wake(invocation_of: InvocationOf) -> None:
    """A prompt without the invocation tokens would get the base model's answer under the adapter's name: it gets an error (HTTP 400)."""
    from vllm.exceptions import VLLMValidationError
    from vllm.v1.engine.input_processor import InputProcessor

    process = InputProcessor.process_inputs

    def process_inputs(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = process(self, *args, **kwargs)
        tokens = None if request.lora_request is None else _known(invocation_of, request.lora_request)
        if tokens is not None and activation.last(request.prompt_token_ids or (), tokens) is None:
            text = "" if self.tokenizer is None else f" ({self.tokenizer.decode(list(tokens))!r})"
            raise VLLMValidationError(
                f"`{request.lora_request.lora_name}` is an activated LoRA: it acts from its invocation tokens {list(tokens)}{text} on, "
                "and the prompt does not hold them",
                parameter="model",
            )
        return request

    InputProcessor.process_inputs = process_inputs
