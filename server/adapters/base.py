"""The served base model, as far as an adapter has to fit it: names, shapes, hashes, and the rank that the engine was started with."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redraft.home import sha256

DENSE = frozenset({"llama", "mistral", "qwen2", "qwen3", "smollm3"})
"""Architectures of one layout: the seven linear layers of `PROJECTIONS` in each block, and shapes that follow from `config.json`."""
PROJECTIONS = {
    "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}
MODULE = re.compile(r"model\.layers\.(0|[1-9]\d{0,5})\.(self_attn|mlp)\.(\w+)")


def digest(value: object) -> str:
    """The hash of a JSON value, as manifests have it."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class Base:
    """`config` is the text model's `config.json`; `folder` is where its files lie, if they lie here.

    `no_activation` says why the engine serves no activated LoRA; it is None where it does.
    """

    def __init__(
        self,
        names: Sequence[str],
        config: Mapping[str, Any],
        *,
        max_rank: int,
        folder: Path | None = None,
        no_activation: str | None = "nothing is known of the engine",
    ) -> None:
        self.names = frozenset(names)
        self.max_rank = max_rank
        self.no_activation = no_activation
        self._config = config
        self._folder = folder
        self._weights: str | None = None
        self._once = threading.Lock()

    @property
    def vocabulary(self) -> int | None:
        """How many tokens there are."""
        return self._config.get("vocab_size")

    @property
    def knows_shapes(self) -> bool:
        return self._config.get("model_type") in DENSE

    def shape_of(self, module: str) -> tuple[int, int] | None:
        """(inputs, outputs) of a linear layer by its name; None when there is no such layer."""
        found = MODULE.fullmatch(module)
        if found is None or int(found[1]) >= self._config["num_hidden_layers"] or found[3] not in PROJECTIONS[found[2]]:
            return None
        hidden, heads = self._config["hidden_size"], self._config["num_attention_heads"]
        width = self._config.get("head_dim") or hidden // heads
        queries, keys, wide = heads * width, (self._config.get("num_key_value_heads") or heads) * width, self._config["intermediate_size"]
        shapes = {
            "q_proj": (hidden, queries), "k_proj": (hidden, keys), "v_proj": (hidden, keys), "o_proj": (queries, hidden),
            "gate_proj": (hidden, wide), "up_proj": (hidden, wide), "down_proj": (wide, hidden),
        }  # fmt: skip
        return shapes[found[3]]

    def config_sha256(self) -> str | None:
        """The hash of `config.json`; None when the files are not here."""
        return sha256(self._folder / "config.json") if self._folder is not None and (self._folder / "config.json").is_file() else None

    def weights_sha256(self) -> str | None:
        """The hash over the weights' files, computed once; None when they are not here."""
        with self._once:
            shards = sorted(self._folder.glob("*.safetensors")) if self._folder is not None else []
            if self._weights is None and shards:
                self._weights = digest({shard.name: sha256(shard) for shard in shards})
            return self._weights
