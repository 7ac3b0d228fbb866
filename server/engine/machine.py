"""What suits the machine at hand: the dtype of the arithmetic, how many cores the engine leaves to others, what it keeps in memory, and
whether torch can compile.

`benchmarks/cpu_engine.py` measures what the first two are worth, `benchmarks/cpu_memory.py` the third. Knows neither torch nor vLLM.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FEW_CORES = 4
"""Up to so many cores the engine computes on all of them: vLLM would leave one to its scheduler, which mostly waits."""
KEPT_PRODUCTS = 64
"""So many compiled matrix products oneDNN keeps, beside the 32 of each of vLLM's layers. One takes about a megabyte, every new pair of
batch size and layer shape has its own, and oneDNN's default of 1,024 lets the engine grow by a gigabyte (`benchmarks/cpu_memory.py`)."""
FULL_SIZE_SHARE = 0.25
"""Float32 is used only where the weights then take at most this share of the memory."""


def dtype(weights: Path | str, *, cpuinfo: str | None = None, memory: int | None = None) -> str:
    """`float32` where this CPU multiplies it faster than bfloat16 and the weights are small enough, else `bfloat16`.

    Without AMX, bfloat16 products run at about 0.6 of the speed of float32 on an AVX-512 Xeon. `weights` is a folder of safetensors
    in 16 bits; of a hub id the size is not known here, and it gets bfloat16.
    """
    features = Path("/proc/cpuinfo").read_text(encoding="utf-8") if cpuinfo is None else cpuinfo
    folder = Path(weights)
    if "GenuineIntel" not in features or "amx_bf16" in features.split() or not folder.is_dir():
        return "bfloat16"
    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if memory is None else memory
    return "float32" if 0 < 2 * stored <= FULL_SIZE_SHARE * available else "bfloat16"


def environment(cores: int | None = None) -> dict[str, str]:
    """What to tell vLLM's CPU backend and torch. Of threads nothing on a machine of many cores: vLLM keeps one free there."""
    usable = len(os.sched_getaffinity(0)) if cores is None else cores
    threads = {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"} if usable <= FEW_CORES else {}
    return {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(KEPT_PRODUCTS)} | threads | ({} if compiles() else {"TORCH_COMPILE_DISABLE": "1"})


def compiles() -> bool:
    """Is there a C++ compiler where torch would look? Without one, the first request for log-probabilities ends vLLM's CPU engine.

    vLLM compiles a small part of its sampler even in eager mode.
    """
    named = os.environ.get("CXX", "g++").split()
    return bool(named) and shutil.which(named[0]) is not None
