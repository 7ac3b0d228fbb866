"""The real server on a Unix socket, supervised: it opens no port, answers, and comes back at the same path when its engine dies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.servers import REDRAFT, free_port
from tests.e2e.conftest import OFFLINE

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # httpx leaves a Unix socket that refuses it open
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path, int]]:
    path, port, log = tmp_path / "s", free_port(), tmp_path / "redraft.log"
    env = {**os.environ, **OFFLINE, "REDRAFT_SUPERVISE": "true", "REDRAFT_GUARD__KEYS_FILE": str(tmp_path / "keys.sqlite")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(REDRAFT), "serve", "--port", str(port), "--uds", str(path)], stdout=out, stderr=subprocess.STDOUT, env=env
        )
    try:
        yield process, path, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                one.kill()
        print(log.read_text(errors="replace")[-3000:])


def until(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, f"the supervisor ended with {process.returncode}"
        assert time.monotonic() < end
        time.sleep(0.2)


def test_it_answers_at_its_path_and_comes_back_there(server: tuple[subprocess.Popen[bytes], Path, int]) -> None:
    process, path, port = server

    def ask(method: str, where: str, **more: object) -> int:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://any.example", timeout=120) as client:
                return client.request(method, where, **more).status_code  # type: ignore[arg-type]
        except httpx.TransportError:
            return 0

    def cores() -> list[psutil.Process]:
        below = psutil.Process(process.pid).children(recursive=True)
        return [child for child in below if "EngineCore" in " ".join(child.cmdline())]

    solve = {"json": {"problem": "2+2?", "loop": {"drafts": 1, "rounds": 0, "max_tokens": 8}}}
    until(process, lambda: ask("GET", "/health/ready") == 200)
    assert ask("POST", "/solve", **solve) == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
    (core,) = cores()
    core.kill()
    until(process, lambda: ask("GET", "/health/ready") != 200)
    until(process, lambda: ask("GET", "/health/ready") == 200)
    assert ask("POST", "/solve", **solve) == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
