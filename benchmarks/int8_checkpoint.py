"""A checkpoint with weights in int8, for long measurements on a CPU: about twice the speed of float32 without AMX, where VNNI is.

    python -m benchmarks.int8_checkpoint MODEL_DIR OUT_DIR

All linear layers and, where it is not tied to the embedding, the output head: int8 weights with one scale a row, rounded to nearest with
the clipping (of four) that loses least; activations are quantized token by token when the model runs (W8A8). The form is that of
compressed-tensors, which vLLM reads. It is another model than the one it was made from: figures must name it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

HEAD = "lm_head.weight"
CLIPS = (1.0, 0.97, 0.94, 0.9)
LARGEST = 127


def quantized(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, columns) -> int8 of the same shape, and float32 scales (rows, 1)."""
    full = weight.float()
    widest = full.abs().amax(1, keepdim=True).clamp_min(1e-8) / LARGEST
    scale, error = widest, torch.full_like(widest, torch.inf)
    for clip in CLIPS:
        tried = widest * clip
        lost = ((_rounded(full, tried) * tried - full) ** 2).sum(1, keepdim=True)
        scale, error = torch.where(lost < error, tried, scale), torch.minimum(lost, error)
    return _rounded(full, scale).to(torch.int8), scale


def _rounded(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (weight / scale).round().clamp(-LARGEST, LARGEST)


def quantization(*, head: bool) -> dict[str, Any]:
    """The `quantization_config` of what `main` writes."""
    common = {"num_bits": 8, "type": "int", "symmetric": True}
    group = {
        "targets": ["Linear", *(["re:.*lm_head"] if head else [])],
        "weights": {**common, "dynamic": False, "strategy": "channel"},
        "input_activations": {**common, "dynamic": True, "strategy": "token"},
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": [] if head else ["lm_head"],
        "config_groups": {"group_0": group},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="a folder with one model.safetensors")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    stored, config = arguments.model / "model.safetensors", json.loads((arguments.model / "config.json").read_text(encoding="utf-8"))
    if not stored.is_file():
        parser.error(f"{stored} is not there: models in several files are not understood")
    weights, head = load_file(stored), not config.get("tie_word_embeddings", False)
    arguments.out.mkdir(parents=True)
    made: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if name.endswith("_proj.weight") or (name == HEAD and head):
            made[name], made[f"{name}_scale"] = quantized(weight)
        else:
            made[name] = weight
    for file in arguments.model.iterdir():
        if file.is_file() and file != stored:
            shutil.copy(file, arguments.out)
    config["quantization_config"] = quantization(head=head)
    (arguments.out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(made, arguments.out / stored.name, metadata={"format": "pt"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
