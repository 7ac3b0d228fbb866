"""The safetensors format, as much of it as an admission needs: the header, and whether all numbers are finite. Imports no torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.adapters.errors import Check, Refused

LENGTH = 8
"""Bytes of the header's length, a little-endian integer at the start of the file."""
MAX_HEADER = 16 << 20
BLOCK = 1 << 22
"""Numbers that are looked at at once."""

FLOATS = {"BF16": (2, 0x7F80), "F16": (2, 0x7C00), "F32": (4, 0x7F800000), "F64": (8, 0x7FF0000000000000)}
"""Type -> bytes of a number, and the exponent bits that are all ones in an infinity and in a NaN."""


@dataclass(frozen=True, slots=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]
    start: int
    """Offset of its first byte in the file."""
    numbers: int


def header(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises Refused when the file is no whole safetensors file of floating-point numbers."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if size < LENGTH or not 2 <= length <= min(MAX_HEADER, size - LENGTH):
            raise Refused(Check.FORMAT, f"{path.name} is no safetensors file: its header cannot be {length} bytes long")
        try:
            found: Any = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise Refused(Check.FORMAT, f"{path.name} is no safetensors file: its header is not JSON") from error
    if not isinstance(found, dict):
        raise Refused(Check.FORMAT, f"{path.name}: the header is no JSON object")
    found.pop("__metadata__", None)
    data = size - LENGTH - length
    tensors = {name: _tensor(path.name, name, entry, LENGTH + length, data) for name, entry in found.items()}
    if sum(FLOATS[t.dtype][0] * t.numbers for t in tensors.values()) != data:
        raise Refused(Check.FORMAT, f"{path.name}: its tensors do not fill the file, or overlap")
    return tensors


def _tensor(file: str, name: str, entry: Any, base: int, data: int) -> Tensor:
    try:
        dtype, shape, (start, end) = str(entry["dtype"]), tuple(map(int, entry["shape"])), map(int, entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(Check.FORMAT, f"{file}: the entry of {name[:200]!r} is malformed") from error
    if dtype not in FLOATS:
        raise Refused(Check.FORMAT, f"{file}: {name[:200]!r} is of type {dtype[:20]}; weights are one of {', '.join(FLOATS)}")
    numbers = math.prod(shape)
    if min(shape, default=0) < 0 or not 0 <= start <= end <= data or end - start != numbers * FLOATS[dtype][0]:
        raise Refused(Check.FORMAT, f"{file}: {name[:200]!r} of shape {list(shape)} does not lie where the header says")
    return Tensor(dtype, shape, base + start, numbers)


def first_not_finite(path: Path, tensors: dict[str, Tensor]) -> str | None:
    """The name of a tensor that holds an infinity or a NaN."""
    import numpy as np

    whole = np.memmap(path, dtype=np.uint8, mode="r")
    for name, tensor in tensors.items():
        width, exponent = FLOATS[tensor.dtype]
        kind = np.dtype(f"<u{width}")
        mask = kind.type(exponent)
        numbers = whole[tensor.start : tensor.start + tensor.numbers * width]
        for first in range(0, tensor.numbers, BLOCK):
            block = numbers[first * width : (first + BLOCK) * width].tobytes()
            if bool(((np.frombuffer(block, dtype=kind) & mask) == mask).any()):
                return name
    return None
