"""A linear layer with its LoRA as one step of differentiation: the library's arithmetic with fewer passes over memory.

`y = x W' + b + s (x A') B'`. W and b are frozen: no gradient of theirs is computed or kept.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear


class Adapted(torch.autograd.Function):
    """The layer and its gradients for x, A and B. A and B may be more precise than x: they are used in its precision."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, a: Any, b: Any, scale: float) -> torch.Tensor:
        a, b = a.to(x.dtype), b.to(x.dtype)
        rows = x.flatten(0, -2)
        narrow = rows @ a.T
        y = torch.nn.functional.linear(rows, weight, bias)
        y.addmm_(narrow, b.T, alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, narrow)
        ctx.scale = scale
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, a, b, narrow = ctx.saved_tensors
        dy = grads[0].reshape(-1, weight.shape[0])
        scaled = (dy @ b).mul_(ctx.scale)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = dy @ weight
            dx.addmm_(scaled, a)
            dx = dx.view(*grads[0].shape[:-1], -1)
        da = (scaled.T @ rows).float()
        db = (dy.T @ narrow).mul_(ctx.scale).float()
        return dx, None, None, da, db, None


def quicken(model: torch.nn.Module) -> int:
    """Let every plain LoRA layer of `model` compute this way. Returns how many there are."""
    layers = [module for module in model.modules() if isinstance(module, Linear) and _plain(module)]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _plain(layer: Linear) -> bool:
    """One adapter without dropout, variants and biases of its own, over an ordinary linear layer."""
    names = list(layer.lora_A)
    return (
        len(names) == 1
        and not layer.lora_variant
        and isinstance(layer.lora_dropout[names[0]], torch.nn.Identity)
        and layer.lora_B[names[0]].bias is None
        and type(layer.base_layer) is torch.nn.Linear
    )


def _forward(layer: Linear, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    if layer.disable_adapters or layer.merged:
        return Linear.forward(layer, x, *args, **kwargs)
    (name,) = layer.lora_A
    base = layer.base_layer
    y: torch.Tensor = Adapted.apply(x, base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])
    return y
