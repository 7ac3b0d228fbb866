"""A seeded request whose prefill is chunked kills the stock engine on CPU, and does not hurt ours (`server.engine.fixes`)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.servers import REDRAFT, free_port, running
from redraft import home
from tests.e2e.conftest import OFFLINE, plain_vllm

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CHUNKED = ["--max-num-batched-tokens", "64", "--max-num-seqs", "16", "--max-model-len", "2048"]
LONG = "apples and pears and " * 60


def complete(server: str, model: str, seed: int) -> httpx.Response:
    body: dict[str, Any] = {"model": model, "prompt": LONG, "max_tokens": 12, "temperature": 1.0, "seed": seed, "n": 2}
    return httpx.post(f"{server}/v1/completions", json=body, timeout=120)


def test_the_stock_engine_dies_of_it(logs: Path, model: Path) -> None:
    """When this fails, vLLM has mended it: drop the fix."""
    with plain_vllm(logs, model, CHUNKED) as stock:
        try:
            reply = complete(stock.url, stock.model, 1)
            assert reply.status_code >= 500
        except httpx.TransportError:
            pass
        until = time.monotonic() + 60
        while time.monotonic() < until and "does not use offset" not in stock.log.read_text(errors="replace"):
            time.sleep(0.5)
        assert "does not use offset" in stock.log.read_text(errors="replace")


def test_ours_lives_and_repeats_itself(logs: Path) -> None:
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", logs / "seed.log"
    with running([str(REDRAFT), "serve", "--port", str(port), *CHUNKED], health=f"{url}/health/ready", log=log, env=OFFLINE):
        replies = [complete(url, home.DEFAULT_MODEL, seed) for seed in (1, 1, 2)]
        assert [r.status_code for r in replies] == [200] * 3
        texts = [[choice["text"] for choice in r.json()["choices"]] for r in replies]
        assert texts[0] == texts[1] != texts[2]
        assert texts[0][0] != texts[0][1]
