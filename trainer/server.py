"""A server that a stage starts for itself and that is gone afterwards: on success, error, Ctrl-C, and when the stage is killed."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console

from redraft.errors import EngineUnavailable

POLL_S = 0.25
READY = "/health/ready"
KEY = "REDRAFT_API_KEY"
"""A setting of the environment that would lock the stage out of its own server."""


def redraft_serve(arguments: str, port: int) -> list[str]:
    """The command line of `redraft serve ARGUMENTS` on a port of the loopback."""
    return [str(Path(sys.executable).with_name("redraft")), "serve", *shlex.split(arguments), "--host", "127.0.0.1", "--port", str(port)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: Sequence[str], url: str, *, log: Path, timeout_s: float, console: Console) -> Iterator[None]:
    """Run `command` until the context is left; it is ready when `url` says so. Its words go to `log`.

    Raises EngineUnavailable with the end of the log when the server stops or is not ready in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != KEY}
    with log.open("wb") as out:
        guard = subprocess.Popen(
            [sys.executable, "-m", "trainer.guard", *command],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
    try:
        with console.status(f"starting {' '.join(command[1:4])} (its log: {log})"):
            _wait(guard, url, log, timeout_s)
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait()


def _wait(guard: subprocess.Popen[bytes], url: str, log: Path, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while guard.poll() is None:
        if time.monotonic() > until:
            raise EngineUnavailable(f"the server was not ready within {timeout_s:g} s; {_end_of(log)}")
        try:
            if httpx.get(url + READY, timeout=5.0, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_S)
    raise EngineUnavailable(f"the server stopped before it was ready (status {guard.returncode}); {_end_of(log)}")


def _end_of(log: Path) -> str:
    return f"its log is {log} and ends:\n{log.read_text(errors='replace')[-1500:]}"
