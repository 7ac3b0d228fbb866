"""The engine's dtype and threads, chosen by what the CPU can do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from server.engine import machine

XEON = "vendor_id : GenuineIntel\nflags : fpu avx512f avx512_bf16"
GIB = 1 << 30
KEPT = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}


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


def test_few_cores_all_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)
    assert machine.environment(2) == KEPT | {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}
    assert machine.environment(16) == KEPT


@pytest.mark.parametrize(
    ("named", "there"), [("no-such-compiler", False), ("no-such-compiler -O2", False), (f"{sys.executable} -O2", True), ("", False)]
)
def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch, named: str, there: bool) -> None:
    monkeypatch.setenv("CXX", named)
    assert machine.compiles() is there
    assert machine.environment(16) == KEPT | ({} if there else {"TORCH_COMPILE_DISABLE": "1"})


def test_the_compiler_is_the_one_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not machine.compiles()
    (tmp_path / "g++").touch(mode=0o755)
    assert machine.compiles()
