"""Batches without padding: sequences end to end in one row, each attending only to itself. For CPUs; knows nothing of losses.

No token of one sequence is ever seen by another: attention is computed for each sequence by itself, and positions start anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers import AttentionInterface, PretrainedConfig

from trainer.fitting.render import IGNORED

ATTENTION = "redraft_flat"
"""The name under which transformers knows the attention below."""
FAMILIES = frozenset({"llama", "qwen2", "qwen3"})
"""Model types that hand all keyword arguments down to their attention, and whose attention is plain: causal, over the whole sequence."""


def fits(config: PretrainedConfig) -> bool:
    """Whether a model can be trained on flat batches."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return config.model_type in FAMILIES and kinds == {"full_attention"}


def enable(model: Any) -> None:
    """Make `model` compute attention for flat batches, and for no others."""
    AttentionInterface.register(ATTENTION, attend)
    model.set_attn_implementation(ATTENTION)


def flatten(examples: Iterable[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """One batch. `lengths` comes first: the library takes the number of rows from the first tensor."""
    rows = [(torch.tensor(example["input_ids"]), torch.tensor(example["labels"])) for example in examples]
    for _, labels in rows:
        labels[0] = IGNORED
    return {
        "lengths": torch.tensor([len(ids) for ids, _ in rows]),
        "input_ids": torch.cat([ids for ids, _ in rows])[None],
        "position_ids": torch.cat([torch.arange(len(ids)) for ids, _ in rows])[None],
        "labels": torch.cat([labels for _, labels in rows])[None],
    }


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    lengths: list[int],
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each of the sequences that lie end to end."""
    parts = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    seen = [
        torch.nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=True)
        for q, k, v in parts
    ]
    return torch.cat(seen, dim=2).transpose(1, 2), None
