"""How `redraft serve` hands over to vLLM's server: its real parser, stopped just before the engine would start."""

from __future__ import annotations

import socket
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


OTHER_LAUNCHERS = [["--api-server-count", "4"], ["--api-server-count", "0"], ["--headless"], ["--grpc"]]
OTHER_LAUNCHERS += [["--data-parallel-multi-port-external-lb", "--data-parallel-size", "2"]]


@pytest.mark.parametrize("flags", OTHER_LAUNCHERS)
def test_what_other_launchers_do_is_refused_and_not_passed_over(started: list[Namespace], model: Path, flags: list[str]) -> None:
    with pytest.raises(BadRequest, match=f"^{flags[0]}: .* one server process"):
        entry.serve(ServeSettings(device="cpu"), model, flags)
    assert started == []


def test_one_server_process_is_what_there_is(started: list[Namespace], model: Path) -> None:
    from server.engine import plugin

    entry.serve(ServeSettings(device="cpu"), model, ["--api-server-count", "1", "--data-parallel-size", "2"])
    assert started[0].data_parallel_size == 2
    assert plugin.not_shared(started[0]) is None


def test_several_processes_of_a_bare_vllm_are_told_what_they_do_not_share() -> None:
    from server.engine import plugin

    warning = plugin.not_shared(Namespace(api_server_count=4))
    assert warning is not None
    for what in ("4 API server processes", "limits of keys", "queue", "share of the engine", "Idempotency-Key", "adapters"):
        assert what in warning


def test_a_socket_left_by_a_dead_server_is_no_obstacle(
    started: list[Namespace], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    entry.serve(ServeSettings(device="cpu"), model, ["--uds", str(path)])
    assert (started[0].uds, path.exists()) == (str(path), False)
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(BadRequest, match="listens there already"):
            entry.serve(ServeSettings(device="cpu"), model, ["--uds", str(path)])
    assert len(started) == 1
