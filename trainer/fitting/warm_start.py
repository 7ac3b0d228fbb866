"""The adapter that a run begins from: is it one of ours, of the same base model and shape? Loads no weights into a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.adapters import adapter
from trainer.config import Lora
from trainer.errors import BadConfig

SHAPE = ("rank", "alpha", "targets", "rslora", "dora", "alora_invocation")
PARAM = "rft.warm_start"


def check(folder: Path, lora: Lora, base: dict[str, str]) -> dict[str, Any]:
    """The adapter's manifest. `base` is the base model's identity, as the run's origin has it."""
    manifest = adapter.check(folder)
    if any(manifest["base"][part] != base[part] for part in ("config_sha256", "weights_sha256")):
        raise BadConfig(f"{PARAM}: {folder}: was made for another base model ({manifest['base']['model']})", param=PARAM)
    theirs, ours = manifest["config"]["lora"], lora.model_dump(mode="json")
    other = [f"{field} {theirs.get(field)!r}, not {ours[field]!r}" for field in SHAPE if theirs.get(field) != ours[field]]
    if other:
        raise BadConfig(f"{PARAM}: {folder}: its adapter has {', '.join(other)}; `lora` must say what it was trained with", param=PARAM)
    return manifest
