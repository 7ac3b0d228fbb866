"""LoRA on vLLM's CPU backend: tokens grouped by adapter, two matrix products a group, rows without an adapter never touched.

vLLM's own CPU kernels gather a copy of A and B for every token, also for tokens without an adapter, whose slot -1 wraps to the last
one: wrong and slow. This wrapper is chosen through the platform's own hook (`get_punica_wrapper`); on other platforms it does nothing.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

Rows: TypeAlias = "slice | torch.Tensor"
Groups: TypeAlias = list[tuple[int, Rows]]
ALL = slice(None)


def group(slots: torch.Tensor) -> Groups:
    """`slots` [tokens] -> (slot, its rows) for every slot >= 0. One adapter for all tokens is a slice: nothing is gathered."""
    used = slots.unique().tolist()
    if len(used) == 1:
        return [(used[0], ALL)] if used[0] >= 0 else []
    return [(slot, (slots == slot).nonzero().squeeze(1)) for slot in used if slot >= 0]


def weight(stacked: torch.Tensor, slot: int) -> torch.Tensor:
    """One adapter's matrix from `[slots, 1, rows, columns]` or `[slots, rows, columns]`."""
    return stacked[slot, 0] if stacked.dim() == 4 else stacked[slot]


class GroupedPunicaWrapper(PunicaWrapperCPU):
    """vLLM's CPU wrapper with its products grouped by adapter. Shapes: x [tokens, in], y [tokens, out], A [r, in], B [out, r]."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._token_groups: Groups = []
        self._sampler_groups: Groups = []

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        super().update_metadata(*args, **kwargs)
        self._token_groups = group(self.token_lora_indices)
        self._sampler_groups = group(self.sampler_indices)

    def _update_prefill_metadata(self, token_lora_tensor: torch.Tensor) -> None:
        """Nothing: the runs that vLLM would count here are not used, and activated LoRA makes more of them than its buffers hold."""

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        if not self._token_groups:
            return
        x, y = x.view(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        for slot, rows in self._token_groups:
            picked, start = x[rows], 0
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                _add(y[:, start : start + width], rows, picked, weight(a, slot), weight(b, slot), scale)
                start += width

    def add_lora_logits(
        self, y: torch.Tensor, x: torch.Tensor, lora_a_stacked: torch.Tensor, lora_b_stacked: torch.Tensor, scale: float, **kwargs: Any
    ) -> None:
        x, y = x.view(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        for slot, rows in self._sampler_groups:
            _add(y, rows, x[rows], weight(lora_a_stacked, slot), weight(lora_b_stacked, slot), scale)

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, add_inputs: bool = True, **kwargs: Any
    ) -> None:
        self._apply_expand(y, x, lora_b_stacked, 0, y.shape[-1], add_inputs)

    def _apply_shrink(self, y: torch.Tensor, x: torch.Tensor, w_t_all: torch.Tensor, scale: float) -> None:
        """y = scale * x @ A^T for rows with an adapter, 0 for the others."""
        flat = y.view(-1, y.shape[-1]).zero_()
        for slot, rows in self._token_groups:
            a = weight(w_t_all, slot)
            flat[rows, : a.shape[0]] = ((x[rows].to(a.dtype) @ a.t()) * scale).to(flat.dtype)

    def _apply_expand(
        self, y: torch.Tensor, x: torch.Tensor, w_t_all: torch.Tensor, y_offset: int, y_slice_size: int, add_inputs: bool = True
    ) -> None:
        """y[:, offset : offset + size] (+)= x @ B^T for rows with an adapter."""
        part = y.view(-1, y.shape[-1])[:, y_offset : y_offset + y_slice_size]
        for slot, rows in self._token_groups:
            b = weight(w_t_all, slot)
            width = min(part.shape[1], b.shape[0])
            added = (x[rows].to(b.dtype) @ b.t())[:, :width].to(part.dtype)
            part[rows, :width] = part[rows, :width] + added if add_inputs else added


def _add(y: torch.Tensor, rows: Rows, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> None:
    """y[rows] += scale * (x @ A^T) @ B^T. The model and an adapter may pad the outputs differently: the common columns count."""
    width = min(y.shape[1], b.shape[0])
    added = (x @ a.t()) @ b[:width].t()
    if scale != 1.0:
        added *= scale
    if isinstance(rows, slice):
        y[: added.shape[0], :width] += added
    else:
        y[:, :width].index_add_(0, rows, added.to(y.dtype))


def install() -> None:
    """Name this wrapper as the CPU platform's."""
    from vllm.platforms.cpu import CpuPlatform

    qualified = f"{__name__}.{GroupedPunicaWrapper.__name__}"
    CpuPlatform.get_punica_wrapper = classmethod(lambda cls: qualified)
