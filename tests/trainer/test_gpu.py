"""Training on an NVIDIA GPU: bfloat16, and the base in 4 bits (which needs bitsandbytes)."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file

from trainer.adapters import artifact
from trainer.config import FitConfig
from trainer.fitting.fit import build, fit, prepare

Make = Callable[..., FitConfig]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="needs an NVIDIA GPU: nvidia-smi is not on the path"),
]


@pytest.mark.parametrize("fields", [{}, {"lora": None}, {"method": "cft", "dtype": "auto"}], ids=["lora", "full", "bfloat16"])
def test_training_on_a_gpu(make: Make, quiet: Console, fields: dict[str, Any]) -> None:
    manifest = json.loads((fit(make(**fields), quiet).path / artifact.MANIFEST).read_text())
    losses = [entry["loss"] for entry in manifest["metrics"]["history"] if "loss" in entry]
    assert losses[-1] < losses[0]


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
def test_an_adapter_is_trained_beside_weights_in_four_bits(make: Make, quiet: Console) -> None:
    config = make(quantization="nf4", dtype="bfloat16", lora={"rank": 4})
    trainer = build(prepare(config, quiet), quiet)
    assert {type(module).__name__ for name, module in trainer.model.named_modules() if name.endswith("q_proj.base_layer")} == {"Linear4bit"}
    weights = load_file(fit(config, quiet).path / artifact.WEIGHTS)
    assert any(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)
