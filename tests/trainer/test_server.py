"""A server that a stage starts is gone with the stage, and all that it started, however the stage ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from redraft.errors import EngineUnavailable
from trainer import cli
from trainer.server import free_port, serving

from .conftest import rows_of

ROOT = Path(__file__).parents[2]
SERVER = """
import http.server, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[2], "w").write(f"{os.getpid()} {child.pid}")
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""
BEGINNER = """
import sys, time
from pathlib import Path
from rich.console import Console
from trainer.server import serving
with serving(sys.argv[2:], sys.argv[1], log=Path("log"), timeout_s=60, console=Console(quiet=True)):
    print("ready", flush=True)
    time.sleep(600)
"""


def command(port: int, pids: Path) -> list[str]:
    return [sys.executable, "-c", SERVER, str(port), str(pids)]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pids: Path) -> bool:
    """Whether all processes that are named in a file are gone, soon."""
    for _ in range(600):
        if not any(alive(int(pid)) for pid in pids.read_text().split()):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_the_server_and_its_children_end_with_the_stage(tmp_path: Path, error: type[BaseException] | None) -> None:
    port, pids = free_port(), tmp_path / "pids"
    started = serving(command(port, pids), f"http://127.0.0.1:{port}", log=tmp_path / "log", timeout_s=60, console=Console(quiet=True))
    with nullcontext() if error is None else pytest.raises(error), started:
        assert all(alive(int(pid)) for pid in pids.read_text().split())
        if error is not None:
            raise error
    assert gone(pids)


def test_they_end_when_the_stage_is_killed(tmp_path: Path) -> None:
    port, pids = free_port(), tmp_path / "pids"
    beginner = subprocess.Popen(
        [sys.executable, "-c", BEGINNER, f"http://127.0.0.1:{port}", *command(port, pids)],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with beginner:
        assert beginner.stdout is not None
        assert beginner.stdout.readline() == b"ready\n"
        beginner.send_signal(signal.SIGKILL)
    assert gone(pids)


def test_a_server_that_stops_is_told_with_its_last_words(tmp_path: Path) -> None:
    fails = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        pytest.raises(EngineUnavailable, match=r"(?s)stopped before it was ready \(status 1\).*no such model"),
        serving(fails, "http://127.0.0.1:9", log=tmp_path / "log", timeout_s=60, console=Console(quiet=True)),
    ):
        pytest.fail("it was never ready")


def test_sampling_from_a_server_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`redraft serve` itself, over a scripted engine."""
    from redraft.scripted import Reply, ScriptedEngine
    from tests.openai_server import listening, upstream

    engine = ScriptedEngine(lambda request: [Reply(f"It is \\boxed{{{-index}}}.") for index in range(request.n)])
    output = tmp_path / "chosen.jsonl"
    with listening(upstream(engine)) as url:
        options = ["--serve", f"--engine-url {url}", "--limit", "3", "-n", "2", "--temperature", "0.5,1", "--right", "0", "--keep", "5"]
        monkeypatch.setattr(sys, "argv", ["trainer", "sample", "redraft-arith@1", str(output), *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 0
    assert [row["label"] for row in rows_of(output)] == ["wrong"] * 5
    assert len(rows_of(tmp_path / "chosen.all.jsonl")) == 12
    assert json.loads((tmp_path / "chosen.all.jsonl").read_text().splitlines()[0])["temperature"] == 0.5
