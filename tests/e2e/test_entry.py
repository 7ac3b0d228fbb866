"""How `redraft serve` hands over to vLLM's server: its real parser, stopped just before the engine would start."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from redraft.errors import BadRequest
from server.config import ServeSettings
from server.engine import entry

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # vLLM's imports warn of libraries' ways; here they run inside the test's process
]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Namespace]:
    """The arguments with which servers would have started. The environment is given back afterwards."""
    import vllm.entrypoints.launchers.api_server.entry as vllm_server

    seen: list[Namespace] = []

    async def run_server(args: Namespace) -> None:
        seen.append(args)

    monkeypatch.setattr(vllm_server, "run_server", run_server)
    for name in (
        "VLLM_PLUGINS",
        "VLLM_NO_USAGE_STATS",
        "DO_NOT_TRACK",
        "VLLM_WORKER_MULTIPROC_METHOD",
        "VLLM_CPU_KVCACHE_SPACE",
        "HF_HUB_OFFLINE",
    ):
        monkeypatch.setenv(name, "")
    return seen


def test_a_key_from_vllms_environment_guards_our_routes_too(started: list[Namespace], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "theirs")
    entry.serve(ServeSettings(device="cpu", api_key=["ours"]), model, ["--max-model-len", "512"])
    assert started[0].redraft.api_key == ["ours", "theirs"]
    assert started[0].max_model_len == 512


@pytest.mark.parametrize(("flags", "says"), [(["--model", "other"], "MODEL comes first"), (["--api-key", "k"], "--api-key belongs before")])
def test_flags_that_would_pass_us_by_are_refused(started: list[Namespace], model: Path, flags: list[str], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        entry.serve(ServeSettings(device="cpu"), model, flags)
    assert started == []
