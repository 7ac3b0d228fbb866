"""A machine without a C++ compiler, as slim images are: torch finds none there, and the engine lives on."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from benchmarks.servers import REDRAFT, free_port, running
from redraft import home
from tests.e2e.conftest import OFFLINE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_log_probabilities_need_no_compiler(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = OFFLINE | {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled")}
    with running([str(REDRAFT), "serve", "--port", str(port)], health=f"{url}/health/ready", log=tmp_path / "redraft.log", env=env):
        asked = {"model": home.DEFAULT_MODEL, "prompt": "Two and two are", "max_tokens": 2, "logprobs": 2}
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
            reply = client.post("/v1/completions", json=asked)
            assert reply.status_code == 200, reply.text
            assert len(reply.json()["choices"][0]["logprobs"]["top_logprobs"]) == 2
            assert client.get("/health/ready").status_code == 200
