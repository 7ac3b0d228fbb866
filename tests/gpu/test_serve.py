"""The same plugin on the `vllm` wheel and an NVIDIA GPU: REDRAFT_GPU_MODEL names the model (default Qwen/Qwen2.5-0.5B-Instruct)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import httpx
import pytest

from benchmarks.servers import REDRAFT, free_port, running

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="needs an NVIDIA GPU: nvidia-smi is not on the path"),
]


def test_the_loop_runs_and_nothing_of_the_cpu_backend_is_touched(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "serve.log"
    url, model = f"http://127.0.0.1:{port}", os.environ.get("REDRAFT_GPU_MODEL", "Qwen/Qwen2.5-0.5B-Instruct")
    command = [str(REDRAFT), "serve", model, "--device", "gpu", "--port", str(port), "--max-model-len", "4096"]
    with running(command, health=f"{url}/health/ready", log=log):
        loop = {"drafts": 4, "response_tokens": 256, "seed": 1}
        body = httpx.post(f"{url}/solve", json={"problem": "What is 17 + 25?", "loop": loop}, timeout=300).json()
        judged = httpx.post(f"{url}/critique", json={"problem": "17 + 25?", "response": "\\boxed{42}"}, timeout=300).json()
    assert body["answer"] == "42"
    assert judged["verdict"] in {"correct", "incorrect", "abstain"}
    assert "GroupedPunicaWrapper" not in log.read_text(encoding="utf-8", errors="replace")
