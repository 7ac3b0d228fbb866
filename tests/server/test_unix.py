"""`redraft serve --uds PATH`: no port is opened beside the socket, one that a dead server left is no obstacle, a live one is."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from redraft.errors import BadRequest
from server import ready, unix
from server.adapters.parts import state_file
from server.commands.serve import kept_open
from server.config import ServeSettings
from tests.test_architecture import ROOT


@pytest.mark.parametrize(
    ("flags", "path"),
    [
        (["--max-model-len", "9"], None),
        (["--uds", "/run/a"], "/run/a"),
        (["--uds=/run/a", "--seed", "1"], "/run/a"),
        (["--uds", "/run/a", "--uds=/run/b"], "/run/b"),
        (["--uds"], None),
        ([], None),
    ],
)
def test_the_path_is_the_last_one_told(flags: list[str], path: str | None) -> None:
    assert unix.path_of(flags) == path


def test_a_supervisor_keeps_no_port_open_beside_a_socket() -> None:
    assert kept_open(ServeSettings(port=8123), None) == ("127.0.0.1", 8123)
    assert kept_open(ServeSettings(port=8123), "/run/a") is None
    assert kept_open(ServeSettings(standin=False), None) is None


SUPERVISOR = """
import sys
from server import supervise
class Silent(supervise.Supervisor):
    def __init__(self, command, *rest, **more):
        super().__init__([sys.executable, "-c", "import os; print(os.environ.get('REDRAFT_LISTEN_FD'))"], *rest, **more)
supervise.Supervisor = Silent
import server.commands.serve as serve
serve.Supervisor = Silent
from server.cli import main
sys.argv = ["redraft", "serve", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("how", ["a flag", "the settings"])
def test_a_taken_port_does_not_matter_on_a_socket(tmp_path: Path, how: str) -> None:
    """The whole command line, up to the server that it starts."""
    (tmp_path / "redraft.yaml").write_text(f"vllm: {{uds: {tmp_path / 's'}}}\n")
    more = ["--uds", str(tmp_path / "s")] if how == "a flag" else ["--config", str(tmp_path / "redraft.yaml")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-c", SUPERVISOR, "--port", str(taken.getsockname()[1]), "--host", "0.0.0.0", *more]
        home = {"REDRAFT_HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=os.environ | home)
    assert done.stderr == "", "a socket is not public: it needs no key"
    assert (done.returncode, done.stdout) == (0, "None\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "redraft.sock"


def bound(path: Path, *, listening: bool) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    if listening:
        made.listen()
    return made


def test_what_a_dead_server_left_is_taken_away(path: Path) -> None:
    unix.clear(path)
    bound(path, listening=True).close()
    assert path.exists(), "closing a socket leaves its name"
    unix.clear(path)
    bound(path, listening=False).close()


def test_what_is_anothers_is_left_alone(path: Path) -> None:
    with bound(path, listening=True), pytest.raises(BadRequest, match="listens there already"):
        unix.clear(path)
    path.unlink()
    path.write_text("a file")
    with pytest.raises(BadRequest, match="no socket"):
        unix.clear(path)
    assert path.read_text() == "a file"


async def test_it_says_that_it_is_ready(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = FastAPI()
    asked: list[str] = []

    @app.get("/health/ready")
    async def answer() -> dict[str, Any]:
        asked.append("ready")
        return {"models": ["m"]}

    server = uvicorn.Server(uvicorn.Config(app, uds=str(path), log_level="error"))
    serving = asyncio.create_task(server.serve())
    await asyncio.wait_for(ready.announce(None, host="127.0.0.1", port=1, uds=str(path)), 30)  # type: ignore[arg-type]
    server.should_exit = True
    await serving
    assert asked == ["ready"]
    assert capsys.readouterr().out == f"redraft is ready: unix:{path}  models: m (m:loop)\n"


def test_servers_on_two_sockets_write_down_their_aliases_apart(tmp_path: Path) -> None:
    places = [state_file(tmp_path, "m", at) for at in (8000, "/run/a", "/run/b", "/run/a")]
    assert len(set(places)) == 3
    assert places[1] == places[3]
