"""The engine's dtype and threads, chosen by what the CPU can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.engine import machine

XEON = "vendor_id : GenuineIntel\nflags : fpu avx512f avx512_bf16"
GIB = 1 << 30


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    return tmp_path


@pytest.mark.parametrize(
    ("cpuinfo", "memory", "wanted"),
    [
        (XEON, GIB, "float32"),
        (XEON + " amx_bf16 amx_tile", GIB, "bfloat16"),
        ("vendor_id : AuthenticAMD\nflags : avx512_bf16", GIB, "bfloat16"),
        (XEON, 8000, "float32"),
        (XEON, 7999, "bfloat16"),
    ],
)
def test_float32_only_where_it_is_faster_and_fits(weights: Path, cpuinfo: str, memory: int, wanted: str) -> None:
    assert machine.dtype(weights, cpuinfo=cpuinfo, memory=memory) == wanted


def test_of_a_model_whose_size_is_not_known_bfloat16(tmp_path: Path) -> None:
    assert machine.dtype("some/model", cpuinfo=XEON, memory=GIB) == "bfloat16"
    assert machine.dtype(tmp_path, cpuinfo=XEON, memory=GIB) == "bfloat16"


def test_few_cores_all_compute() -> None:
    assert machine.environment(2) == {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}
    assert machine.environment(16) == {}
