"""The base model as files: where they lie, its tokenizer, and the tokens at which it stops. Loads no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from redraft import home
from trainer.errors import BadConfig
from trainer.fitting.render import Renderer


def base_folder(model: str) -> Path:
    """Where the base model's files lie; a hub id is fetched by the library if it is not there yet."""
    if model == home.DEFAULT_MODEL:
        built = home.default_model_dir()
        if not built.is_dir():
            raise BadConfig(
                f"model: {model} has not been built on this machine; serve it once, or name a folder or a hub id", param="model"
            )
        return built
    if Path(model).is_dir():
        return Path(model)
    if model.startswith((".", "/", "~")):
        raise BadConfig(f"model: {model}: no such folder", param="model")
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(model, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        raise BadConfig(f"model: {model}: no folder of that name, and it could not be had from the hub: {error}", param="model") from error


def base_dtype(folder: Path) -> Any:
    """The torch dtype in which the base model's weights are stored."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder).dtype


def load_renderer(folder: Path) -> Renderer:
    """The base model's tokenizer, and all tokens at which a server stops."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    generation = folder / "generation_config.json"
    listed = json.loads(generation.read_text(encoding="utf-8")).get("eos_token_id") if generation.is_file() else None
    return Renderer(tokenizer, listed if isinstance(listed, list) else [] if listed is None else [listed])
