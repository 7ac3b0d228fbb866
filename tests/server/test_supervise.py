"""The supervisor over small children that do what servers do: beat, die, hang, leave others behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.servers import free_port
from tests.test_architecture import HEAVY, ROOT

SUPERVISOR = """
import signal, sys
from server import supervise
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would all that it starts
supervise.FIRST_WAIT_S, supervise.TICK_S, supervise.END_S = 0.01, 0.05, 0.5
patience = supervise.Patience(restarts={restarts}, silence_s={silence_s})
command = [sys.executable, "-S", "-c", {child!r}, {log!r}]
sys.exit(supervise.Supervisor(command, patience, lambda line: print(line, flush=True), address={address!r}).run())
"""
CHILD = """
import os, signal, socket, subprocess, sys, time
def answer(text, times):
    listening = socket.socket(fileno=int(os.environ["REDRAFT_LISTEN_FD"]))
    for _ in range(times):
        client, _ = listening.accept()
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(text), text))
        client.close()
def note(what):
    with open(sys.argv[1], "a") as log:
        log.write(what + "\\n")
def beat():
    os.write(int(os.environ["REDRAFT_BEAT_FD"]), b".")
def take_over():
    beat()
    assert os.read(int(os.environ["REDRAFT_BEAT_FD"]), 1)
def stand_ins():
    with open(f"/proc/{os.getppid()}/task/{os.getppid()}/children") as found:
        return sum(b"-m\\0server.standin" in open(f"/proc/{pid}/cmdline", "rb").read() for pid in found.read().split())
def leave_one_behind():
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    found = subprocess.Popen([sys.executable, "-S", "-c", stubborn])
    note(f"other {found.pid}")
note(f"start {os.getpid()}")
"""


class Supervised:
    def __init__(self, folder: Path, child: str, *, restarts: int = 3, silence_s: float = 600, standin: bool = True) -> None:
        self.log = folder / "child.log"
        self.log.touch()
        self.port = free_port()
        address = ("127.0.0.1", self.port) if standin else None
        script = SUPERVISOR.format(child=CHILD + child, log=str(self.log), restarts=restarts, silence_s=silence_s, address=address)
        self.process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def notes(self, what: str) -> list[str]:
        return [line.partition(" ")[2] for line in self.log.read_text().splitlines() if line.startswith(what)]

    def end(self) -> int:
        return self.process.wait(60)

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def ask(self, method: str = "GET", path: str = "/health/ready", **more: Any) -> httpx.Response:
        return httpx.request(method, f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=30, **more)

    def gone(self) -> bool:
        return all(not lives(int(pid)) for what in ("start", "other") for pid in self.notes(what))


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


Start = Callable[..., Supervised]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Supervised] = []

    def begin(child: str, **more: float) -> Supervised:
        started.append(Supervised(tmp_path, child, **more))  # type: ignore[arg-type]
        return started[-1]

    yield begin
    for one in started:
        for pid in [str(one.process.pid), *one.notes("start"), *one.notes("other")]:
            if lives(int(pid)):
                os.kill(int(pid), signal.SIGKILL)
        one.process.communicate()


def test_a_server_that_never_came_up_is_not_tried_again(start: Start) -> None:
    found = start("sys.exit(3)")
    assert found.end() == 3
    assert len(found.notes("start")) == 1


def test_one_that_dies_is_started_again_a_limited_number_of_times(start: Start) -> None:
    found = start("beat(); time.sleep(0.1); os.kill(os.getpid(), signal.SIGKILL)", restarts=3)
    assert found.end() == 128 + signal.SIGKILL
    assert len(found.notes("start")) == 4
    said = found.said()
    assert "exit code 137" in said
    assert ["0.01 s" in said, "0.02 s" in said, "0.04 s" in said, "giving up" in said] == [True] * 4


def test_an_exit_without_an_error_is_still_unasked(start: Start) -> None:
    found = start("beat(); time.sleep(0.1)", restarts=1)
    assert found.end() == 1
    assert len(found.notes("start")) == 2


def test_one_that_falls_silent_is_ended_with_all_it_started(start: Start) -> None:
    found = start("leave_one_behind(); beat(); time.sleep(600)", restarts=1, silence_s=0.3)
    assert found.end() == 128 + signal.SIGKILL
    assert len(found.notes("start")) == len(found.notes("other")) == 2
    assert found.gone()
    assert "has not been live for" in found.said()


def test_what_a_dead_server_leaves_behind_is_ended(start: Start) -> None:
    found = start("leave_one_behind(); time.sleep(0.2); sys.exit(7)")
    assert found.end() == 7
    assert found.gone()


def test_a_signal_is_passed_on_and_the_servers_own_exit_code_kept(start: Start) -> None:
    found = start("signal.signal(signal.SIGTERM, lambda kind, frame: sys.exit(5)); beat(); note('ready'); time.sleep(600)")
    until(lambda: found.notes("ready"))
    found.process.send_signal(signal.SIGTERM)
    assert found.end() == 5
    assert len(found.notes("start")) == 1


def test_ctrl_c_twice_ends_everything(start: Start) -> None:
    found = start(
        "signal.signal(signal.SIGINT, lambda *_: note('int')); leave_one_behind(); beat(); note('ready')\nwhile True: time.sleep(1)"
    )
    until(lambda: found.notes("ready"))
    found.process.send_signal(signal.SIGINT)
    until(lambda: found.notes("int"))
    assert lives(found.process.pid)
    found.process.send_signal(signal.SIGINT)
    assert found.end() == 128 + signal.SIGKILL
    assert found.gone()


def test_a_supervisor_that_is_killed_takes_its_server_along(start: Start) -> None:
    found = start("signal.signal(signal.SIGTERM, lambda *_: (note('term'), sys.exit())); beat(); note('ready'); time.sleep(600)")
    until(lambda: found.notes("ready"))
    found.process.kill()
    until(lambda: found.notes("term") and found.gone())


def test_a_terminals_ctrl_c_reaches_the_supervisor_alone(start: Start) -> None:
    found = start("beat(); note('ready'); time.sleep(600)")
    until(lambda: found.notes("ready"))
    assert os.getpgid(int(found.notes("start")[0])) != os.getpgid(found.process.pid)


def test_somebody_answers_while_the_server_starts_and_after_it_died(start: Start) -> None:
    child = """
if os.path.exists(sys.argv[1] + ".again"):
    note('second'); time.sleep(600)
note('loading')
while not os.path.exists(sys.argv[1] + ".go"): time.sleep(0.01)
beat(); note('up'); answer(b'served', 1); open(sys.argv[1] + ".again", "w").close()
"""
    found = start(child)
    until(lambda: found.notes("loading"))
    for method, path in (("GET", "/health/ready"), ("POST", "/solve"), ("DELETE", "/adapters/x"), ("HEAD", "/")):
        reply = found.ask(method, path, content=b"x" * 300_000 if method == "POST" else None)
        assert (reply.status_code, int(reply.headers["retry-after"]) >= 1) == (503, True)
        assert method == "HEAD" or reply.json()["error"]["type"] == "service_unavailable"
    found.log.with_suffix(".log.go").touch()
    until(lambda: found.notes("up"))
    until(lambda: (reply := found.ask()).status_code == 200 and reply.text == "served")
    until(lambda: found.notes("second"))
    assert found.ask().status_code == 503


def test_without_a_stand_in_the_port_is_the_servers_own(start: Start) -> None:
    found = start("note('listen ' + os.environ.get('REDRAFT_LISTEN_FD', 'none')); beat(); note('ready'); time.sleep(600)", standin=False)
    until(lambda: found.notes("ready"))
    assert found.notes("listen") == ["none"]
    with pytest.raises(httpx.ConnectError):
        found.ask()


def test_nobody_answers_once_the_server_was_told_to_end(start: Start) -> None:
    found = start("beat(); note('ready'); time.sleep(600)")
    until(lambda: found.notes("ready"))
    found.process.send_signal(signal.SIGTERM)
    found.end()
    with pytest.raises(httpx.ConnectError):
        found.ask()


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "server.cli", "serve", "--port", port]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, check=False, env={**os.environ, "REDRAFT_HOME": str(tmp_path)}
        )
    assert done.returncode != 0
    assert f"cannot listen on 127.0.0.1, port {port}" in done.stderr


def test_the_supervisor_imports_nothing_heavy() -> None:
    script = f"import server.commands.serve, sys; print([m for m in {(*HEAVY, 'fastapi', 'numpy')} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_the_first_beat_is_answered_when_the_stand_in_is_gone(start: Start) -> None:
    """Else both would accept: a client that has seen the server ready would be told that it starts."""
    child = """
note('loading')
while not os.path.exists(sys.argv[1] + ".go"): time.sleep(0.01)
note(f'before {stand_ins()}'); take_over(); note(f'after {stand_ins()}'); answer(b'served', 1); time.sleep(600)
"""
    found = start(child)
    until(lambda: found.notes("loading"))
    assert found.ask().status_code == 503
    found.log.with_suffix(".log.go").touch()
    until(lambda: found.notes("after"))
    assert (found.notes("before"), found.notes("after")) == (["1"], ["0"])
    assert found.ask().text == "served"


def test_without_a_stand_in_the_first_beat_is_answered_too(start: Start) -> None:
    found = start("take_over(); note('up'); time.sleep(600)", standin=False)
    until(lambda: found.notes("up"))
