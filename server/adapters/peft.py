"""`adapter_config.json`, PEFT's: only keys that we know, and only values that vLLM serves as PEFT means them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.adapters.errors import Check, Refused

FREE = frozenset(
    {
        "alpha_pattern",
        "base_model_name_or_path",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "target_modules",
        "task_type",
        "use_rslora",
    }
)
"""Keys whose value is looked at elsewhere, or changes nothing once the weights are there."""

ONLY: dict[str, tuple[Any, ...]] = {
    "arrow_config": (None,),
    "auto_mapping": (None,),
    "bias": ("none",),
    "corda_config": (None,),
    "ensure_weight_tying": (False,),
    "fan_in_fan_out": (False,),
    "kasa_config": (None,),
    "layer_replication": (None,),
    "loftq_config": (None, {}),
    "lora_bias": (False,),
    "lora_ga_config": (None,),
    "megatron_config": (None,),
    "megatron_core": (None, "megatron.core"),
    "modules_to_save": (None, []),
    "monteclora_config": (None,),
    "peft_type": ("LORA",),
    "runtime_config": (None,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, []),
    "use_bdlora": (None, False),
    "use_dora": (False,),
    "use_qalora": (False,),
    "velora_config": (None,),
}
"""Keys that would change what is computed, or import something, with the values that do not."""

PLAIN_INITS = frozenset({"gaussian", "eva", "orthogonal"})
"""Initialisations that leave the base model's weights as they are."""
INVOCATION = "alora_invocation_tokens"
MAX_BYTES = 1 << 20
MAX_INVOCATION = 1024


@dataclass(frozen=True, slots=True)
class PeftConfig:
    rank: int
    rank_pattern: dict[str, int]
    target_modules: frozenset[str] | None
    """None when the configuration has a pattern instead of a list."""
    invocation: tuple[int, ...] | None = None
    """The tokens from which an activated LoRA acts; None for a plain one."""

    def rank_of(self, module: str) -> int:
        """The rank of one module, as PEFT reads `rank_pattern`: a key is the end of the module's name."""
        for key, rank in self.rank_pattern.items():
            if module == key or module.endswith(f".{key}"):
                return rank
        return self.rank


def read(path: Path) -> PeftConfig:
    """Raises Refused that names the key."""
    if path.stat().st_size > MAX_BYTES:
        raise Refused(Check.SIZE, f"{path.name} is over {MAX_BYTES} bytes")
    try:
        found: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Refused(Check.CONFIG, f"{path.name} is not JSON") from error
    if not isinstance(found, dict):
        raise Refused(Check.CONFIG, f"{path.name} is no JSON object")
    for key, value in found.items():
        if key not in FREE and key not in ONLY and key != INVOCATION:
            raise Refused(Check.CONFIG, f"{path.name}: the key `{key[:80]}` is not one that is known and harmless")
        if key in ONLY and not any(type(value) is type(kept) and value == kept for kept in ONLY[key]):
            raise Refused(Check.CONFIG, f"{path.name}: `{key}` is {json.dumps(value)[:80]}, only {_said(ONLY[key])} is served")
    init = found.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in PLAIN_INITS:
        raise Refused(Check.CONFIG, f"{path.name}: `init_lora_weights` is {init[:40]!r}, which changes the base model's weights")
    if not _is_number(found.get("lora_alpha")):
        raise Refused(Check.CONFIG, f"{path.name}: `lora_alpha` must be a finite number")
    return PeftConfig(_rank(found.get("r"), "r"), _patterns(found), _targets(found.get("target_modules")), _invocation(found))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _said(values: tuple[Any, ...]) -> str:
    return " or ".join(json.dumps(value) for value in values)


def _rank(value: object, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Refused(Check.RANK, f"`{key}` must be a positive integer, it is {json.dumps(value)[:40]}")
    return value


def _patterns(found: dict[str, Any]) -> dict[str, int]:
    """`rank_pattern`. A key that is more than the end of a module's name (a regular expression) is refused: it could be made to hang."""
    for field in ("rank_pattern", "alpha_pattern"):
        patterns = found.get(field) or {}
        if not isinstance(patterns, dict) or not all(re.fullmatch(r"[\w.]+", key) for key in patterns):
            raise Refused(Check.CONFIG, f"`{field}` must be an object with the ends of module names as keys")
        if not all(map(_is_number, patterns.values())):
            raise Refused(Check.CONFIG, f"`{field}` must have finite numbers as values")
    return {key: _rank(value, f"rank_pattern.{key}") for key, value in (found.get("rank_pattern") or {}).items()}


def _invocation(found: dict[str, Any]) -> tuple[int, ...] | None:
    tokens = found.get(INVOCATION)
    if tokens is None:
        return None
    if not isinstance(tokens, list) or not all(type(token) is int and token >= 0 for token in tokens):
        raise Refused(Check.ACTIVATION, f"`{INVOCATION}` must be a list of token ids, it is {json.dumps(tokens)[:80]}")
    if not 0 < len(tokens) <= MAX_INVOCATION:
        raise Refused(Check.ACTIVATION, f"`{INVOCATION}` has {len(tokens)} tokens, 1 to {MAX_INVOCATION} are served")
    if found.get("task_type") != "CAUSAL_LM":
        raise Refused(Check.ACTIVATION, f"`{INVOCATION}` goes with `task_type` CAUSAL_LM only")
    return tuple(tokens)


def _targets(value: object) -> frozenset[str] | None:
    if isinstance(value, str):
        return None
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise Refused(Check.TARGETS, "`target_modules` must be a list of names, or one pattern")
    return frozenset(value)
