"""Weights in int8: never further from the weights than plain rounding is."""

from __future__ import annotations

import torch

from benchmarks.int8_checkpoint import LARGEST, quantization, quantized


def test_rows_are_scaled_each_by_itself_and_clipping_never_loses_more() -> None:
    weight = torch.randn(16, 400, generator=torch.Generator().manual_seed(0)) * torch.logspace(-4, 2, 16)[:, None]
    weight[3] = 0.0
    kept, scale = quantized(weight.to(torch.bfloat16))
    assert (kept.dtype, kept.shape, scale.shape) == (torch.int8, weight.shape, (16, 1))
    full = weight.to(torch.bfloat16).float()
    plain = full.abs().amax(1, keepdim=True).clamp_min(1e-8) / LARGEST
    lost = ((kept * scale - full) ** 2).sum(1)
    assert (lost <= (((full / plain).round() * plain - full) ** 2).sum(1) + 1e-12).all()
    assert (lost <= 1e-3 * (full**2).sum(1)).all()


def test_a_tied_head_is_left_alone() -> None:
    assert quantization(head=False)["ignore"] == ["lm_head"]
    assert "re:.*lm_head" in quantization(head=True)["config_groups"]["group_0"]["targets"]
