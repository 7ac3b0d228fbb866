"""What an adapter is made from, as hashes: the base model, the data, the prompts, the settings. Imports nothing heavy.

`run_sha256` covers all that decides the training, so that a run finds its own work again and nobody else's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from redraft import prompts
from trainer.config import FitConfig, Source
from trainer.errors import BadConfig

NOT_TRAINING = {"output", "save_steps", "eval_steps", "log_steps", "keep_checkpoints", "report_to", "for_serving", "server_max_rank"}
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
    settings = config.model_dump(mode="json", exclude=NOT_TRAINING | {"model", "data", "eval_data"})
    rows = [[source["format"], source["sha256"]] for source in (*data, *eval_data)]
    run = digest([settings, base["config_sha256"], base["weights_sha256"], rows, prompts_identity()])
    return {"run_sha256": run, "prompts_sha256": prompts_identity(), "base": base, "data": data, "eval_data": eval_data}


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


def data_identity(sources: Iterable[Source]) -> list[dict[str, str]]:
    found = []
    for source in sources:
        if not source.path.is_file():
            raise BadConfig(f"data: {source.path}: no such file", param="data")
        found.append({"path": str(source.path), "format": source.format.value, "sha256": sha256(source.path)})
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
