"""Adapters of random weights, whose answers plainly differ from the base model's and from each other's."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Of a block of Llama's architecture."""


def make_adapters(
    model: Path,
    folder: Path,
    *,
    count: int = 2,
    rank: int = 8,
    modules: tuple[str, ...] = ("q_proj", "v_proj"),
    deviation: float = 0.12,
) -> list[Path]:
    """`count` PEFT folders under `folder`, for the base model in the folder `model`. `modules`: any of a Llama block's projections.

    `deviation`: of the weights of A and B, which are normal about 0.
    """
    import torch
    from safetensors.torch import save_file

    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    narrow = config["num_key_value_heads"] * hidden // config["num_attention_heads"]
    attention = {"q_proj": (hidden, hidden), "k_proj": (hidden, narrow), "v_proj": (hidden, narrow), "o_proj": (hidden, hidden)}
    shapes = {**attention, "gate_proj": (hidden, inner), "up_proj": (hidden, inner), "down_proj": (inner, hidden)}
    peft = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": sorted(modules),
        "bias": "none",
    }
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        weights = {}
        for layer, module in itertools.product(range(config["num_hidden_layers"]), modules):
            room = "self_attn" if module in attention else "mlp"
            key, (width, out) = f"base_model.model.model.layers.{layer}.{room}.{module}", shapes[module]
            weights[f"{key}.lora_A.weight"] = torch.randn(rank, width) * deviation
            weights[f"{key}.lora_B.weight"] = torch.randn(out, rank) * deviation
        made.append(folder / f"adapter-{seed}")
        made[-1].mkdir(parents=True)
        save_file(weights, made[-1] / "adapter_model.safetensors")
        (made[-1] / "adapter_config.json").write_text(json.dumps(peft), encoding="utf-8")
    return made
