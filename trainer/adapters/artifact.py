"""What training leaves: weights, configuration, manifest and model card in a folder that is complete or not there at all.

That is an adapter's folder, or a model's where all weights were trained. `content_sha256` covers the files that a server loads: equal
hashes are equal adapters (or models), whatever run made them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redraft import records
from trainer.errors import BadRun, Diverged
from trainer.origin import digest, sha256

WEIGHTS, CONFIG, MANIFEST, CARD = "adapter_model.safetensors", "adapter_config.json", "manifest.json", "README.md"
SCHEMA = 1


def existing(output: Path, run: str) -> dict[str, Any] | None:
    """The manifest in `output` if this very run wrote it, None if there is nothing; anything else is an error."""
    if not output.exists():
        return None
    manifest = output / MANIFEST
    if not manifest.is_file():
        raise BadRun(f"{output}: exists and is no adapter of ours; choose another output")
    found: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
    if found.get("run_sha256") != run:
        raise BadRun(f"{output}: holds an adapter of another run; adapters are never overwritten, choose another output")
    return found


def write(staged: Path, output: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Complete the adapter or the model in `staged` and move it to `output` in one step."""
    if (staged / CONFIG).is_file():
        _settle_config(staged / CONFIG, manifest["base"]["model"])
    files = {name: sha256(staged / name) for name in _served(staged)}
    manifest = {"schema": SCHEMA, **manifest, "files": files, "content_sha256": digest(files)}
    for extra in staged.iterdir():
        if extra.name not in files:
            shutil.rmtree(extra) if extra.is_dir() else extra.unlink()
        elif extra.suffix == ".safetensors":
            extra.chmod(0o644)
    records.write_atomic(staged / CARD, card(manifest))
    records.write_atomic(staged / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    output.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(output)
    return manifest


def _served(staged: Path) -> list[str]:
    """The files that a server loads."""
    if (staged / CONFIG).is_file():
        return [CONFIG, WEIGHTS]
    return sorted(path.name for path in staged.iterdir() if path.is_file() and path.name != CARD)


def _settle_config(path: Path, base: str) -> None:
    """The same adapter gives the same bytes: lists that stand for sets are sorted, and no folder of this machine stays inside."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["base_model_name_or_path"] = base
    if isinstance(raw.get("target_modules"), list):
        raw["target_modules"] = sorted(raw["target_modules"])
    path.write_text(json.dumps(raw, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def card(manifest: Mapping[str, Any]) -> str:
    """The model card: what it is, what it was made from, and how it did."""
    config, metrics = manifest["config"], manifest["metrics"]
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items() if isinstance(value, int | float))
    data = "\n".join(f"- `{Path(source['path']).name}` (sha256 `{source['sha256'][:12]}`)" for source in manifest["data"])
    return f"""---
base_model: {manifest["base"]["model"]}
library_name: {"transformers" if config["lora"] is None else "peft"}
tags: [{manifest["method"] if config["lora"] is None else f"lora, {manifest['method']}"}]
---

# {manifest["name"]}

{_kind(manifest)}
Content `{manifest["content_sha256"][:12]}`, seed {config["seed"]}, {manifest["examples"]} examples,
{manifest["trained_tokens"]} trained tokens an epoch.

Trained on:

{data}

| metric | value |
|---|---|
{rows}

The manifest beside this file has the whole configuration and all hashes.
"""


def _kind(manifest: Mapping[str, Any]) -> str:
    lora, method, base = manifest["config"]["lora"], manifest["method"], manifest["base"]["model"]
    if lora is None:
        return f"All weights of `{base}`, trained ({method})."
    return f"A LoRA adapter (rank {lora['rank']}, {method}) for `{base}`."


def check_weights(path: Path) -> None:
    """Of an adapter: only what vLLM loads, and only numbers that are finite."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as weights:
        foreign = [name for name in weights.keys() if ".lora_" not in name]  # noqa: SIM118 (it is no mapping)
    if foreign:
        raise BadRun(f"the adapter holds weights that cannot be served: {', '.join(foreign[:3])}")
    check_finite(path)


def check_finite(path: Path) -> None:
    """Raise `Diverged` where a weight is no number."""
    from safetensors.torch import load_file

    weights = load_file(path)
    broken = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        raise Diverged(
            f"training diverged: {len(broken)} of {len(weights)} tensors are not finite (first: {broken[0]}); lower optim.learning_rate"
        )
