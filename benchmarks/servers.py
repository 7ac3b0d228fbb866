"""Starts servers for benchmarks and ends them with all they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

START_S = 300.0
REDRAFT = Path(sys.executable).with_name("redraft")
ALONE = {"REDRAFT_SUPERVISE": "false"}
"""`running` is the supervisor of what it starts."""
VLLM_MODULE = "vllm.entrypoints.launchers.api_server.entry"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Running:
    """A server and all processes it started, as one process group."""

    process: subprocess.Popen[bytes]

    def signal(self, kind: signal.Signals) -> None:
        os.killpg(self.process.pid, kind)


@contextmanager
def running(command: Sequence[str], *, health: str, log: Path, env: dict[str, str] | None = None) -> Iterator[Running]:
    """Run `command` in its own process group until `health` answers; end the whole group after use.

    Raises RuntimeError with the end of the log when the server stops or is not ready in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command), stdout=out, stderr=subprocess.STDOUT, start_new_session=True, env={**ALONE, **os.environ, **(env or {})}
        )
    try:
        _wait(process, health, log)
        yield Running(process)
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(health, timeout=5, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.25)
    raise RuntimeError(f"the server did not come up, see {log}; it ends:\n{log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for kind, seconds in ((signal.SIGCONT, 0.1), (signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, kind)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
