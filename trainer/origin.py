"""What an adapter is made from, as hashes: the base model, the data, the prompts, the settings. Imports nothing heavy.

`run_sha256` covers all that decides the training, so that a run finds its own work again and nobody else's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from redraft import prompts
from trainer import rft
from trainer.config import FitConfig, Method, Source
from trainer.data import sources, tables
from trainer.errors import BadConfig

NOT_TRAINING = {
    "output",
    "save_steps",
    "eval_steps",
    "log_steps",
    "keep_checkpoints",
    "report_to",
    "for_serving",
    "server_max_rank",
    "server_alora",
}
"""Fields that may change between a run and its resumption."""


def sha256(path: Path) -> str:
    """The hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """The hash of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def origin(config: FitConfig, folder: Path) -> dict[str, Any]:
    """All identities of a run, as the manifest has them."""
    base, data, eval_data = base_identity(config.model, folder), data_identity(config.data), data_identity(config.eval_data)
    settings = config.model_dump(mode="json", exclude=NOT_TRAINING | {"model", "data", "eval_data", "rft"})
    settings |= rft_identity(config)
    rows = [[source[part] for part in ("format", "sha256", "layout_sha256") if part in source] for source in (*data, *eval_data)]
    run = digest([settings, base["config_sha256"], base["weights_sha256"], rows, prompts_identity()])
    return {"run_sha256": run, "prompts_sha256": prompts_identity(), "base": base, "data": data, "eval_data": eval_data}


def rft_identity(config: FitConfig) -> dict[str, Any]:
    """What decides reinforcement fine-tuning beside the settings that all methods have; a warm start by its content."""
    if config.method is not Method.RFT:
        return {}
    settings = config.rft.model_dump(mode="json", exclude=set(rft.NOT_TRAINING))
    return {"rft": settings | {"warm_start": None if config.rft.warm_start is None else adapter_identity(config.rft.warm_start)}}


def adapter_identity(folder: Path) -> str:
    """The hash of an adapter's content, computed from its files."""
    files = ("adapter_config.json", "adapter_model.safetensors")
    if not all((folder / name).is_file() for name in files):
        raise BadConfig(f"rft.warm_start: {folder}: expected the folder of an adapter, with {' and '.join(files)}", param="rft.warm_start")
    return digest({name: sha256(folder / name) for name in files})


def base_identity(model: str, folder: Path) -> dict[str, str]:
    """Which base model an adapter belongs to: its configuration and its weights, by content."""
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise BadConfig(f"model: {folder} holds no *.safetensors; only safetensors weights are trained on", param="model")
    template = folder / "chat_template.jinja"
    return {
        "model": Path(model).name if Path(model).is_dir() else model,
        "config_sha256": sha256(folder / "config.json"),
        "weights_sha256": digest({shard.name: sha256(shard) for shard in shards}),
        **({"chat_template_sha256": sha256(template)} if template.exists() else {}),
    }


def data_identity(data: Iterable[Source]) -> list[dict[str, str]]:
    """Where the rows of each source lie, how they are spelled, and their hash."""
    found = []
    for source in data:
        entry = sources.resolve(source)
        spelled = digest([entry.layout.columns, None if entry.layout.turns is None else asdict(entry.layout.turns)])
        told = {} if source.dataset is None else {"dataset": source.dataset, "layout_sha256": spelled}
        found.append({"path": str(entry.place), "format": entry.layout.format.value, "sha256": tables.identity(entry.place), **told})
    return found


def prompts_identity() -> str:
    """Changes when the critic's or the solver's prompt does: an adapter of other prompts is not served as it was trained."""
    return digest(
        [
            prompts.critique_messages("{problem}", "{response}"),
            prompts.critique_reply("{critique}", prompts.RIGHT),
            prompts.solve_messages("{problem}"),
        ]
    )
