"""`python` graders: what they are given and give, and that a hostile one ends in a typed error, held in both ways there are."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from evalsuite.graders import Fault, GraderFailed, Isolation, Limits, Resources, Sample, grade, isolation, parse

MODES = [
    pytest.param(
        Isolation.NAMESPACES, marks=pytest.mark.skipif(isolation() is not Isolation.NAMESPACES, reason="the kernel allows no namespaces")
    ),
    Isolation.AUDIT,
]


def run(body: str, mode: Isolation, sample: Sample | None = None, item: dict[str, object] | None = None, seconds: float = 5.0) -> float:
    source = "def grade(sample, item):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    resources = Resources(limits=Limits(seconds=seconds, memory_bytes=256 * 1024 * 1024, isolation=mode))
    return grade(parse({"type": "python", "name": "p", "source": source}), sample or Sample(""), item or {}, resources).value


def fault(body: str, mode: Isolation, seconds: float = 5.0) -> GraderFailed:
    with pytest.raises(GraderFailed) as caught:
        run(body, mode, seconds=seconds)
    return caught.value


@pytest.mark.parametrize("mode", MODES)
def test_it_is_given_the_sample_and_the_item(mode: Isolation) -> None:
    body = "assert sample['finish_reason'] == 'stop'\nreturn len(sample['output_text']) / item['size']['full']"
    assert run(body, mode, Sample("héé", "stop", 3), {"size": {"full": 4}}) == 0.75


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("import os; os._exit(0)", Fault.CRASHED),
        ("import os; os.abort()", Fault.CRASHED),
        ("raise SystemExit(1)", Fault.RAISED),
        ("return 1 / 0", Fault.RAISED),
        ("return grade(sample, item)", Fault.RAISED),
        ("return 'good'", Fault.NOT_A_NUMBER),
        ("return None", Fault.NOT_A_NUMBER),
        ("return float('nan')", Fault.NOT_A_NUMBER),
        ("return float('inf')", Fault.NOT_A_NUMBER),
        ("return 10 ** 1000", Fault.NOT_A_NUMBER),
        ("return 1.5", Fault.OUT_OF_RANGE),
        ("return -0.1", Fault.OUT_OF_RANGE),
        ("return bytearray(10 ** 10)", Fault.MEMORY),
        ("kept = []\nwhile True: kept.append(bytearray(10 ** 7))", Fault.MEMORY),
        ("import os\nwhile True: os.write(3, b'x' * 65536)", Fault.OUTPUT),
        ("import os\nos.write(3, b'[[[\\n')", Fault.OUTPUT),
        ("import os\nos.write(3, b'[1]\\n')", Fault.OUTPUT),
        ("import os\nos.write(3, b'{\"fault\": []}\\n')", Fault.OUTPUT),
        ("import os\nos.write(3, b'{\"pid\": 1}\\n')", Fault.OUTPUT),
        ("import os\nos.write(3, b'{\"value\": 1' + b'0' * 400 + b'}\\n')", Fault.NOT_A_NUMBER),
        ("raise ValueError('x' * 10 ** 7)", Fault.RAISED),
        ("import subprocess; subprocess.run(['true'])", Fault.RAISED),
        ("import os; os.fork()", Fault.RAISED),
        ("import os; os.system('true')", Fault.RAISED),
        ("import socket; socket.socket()", Fault.RAISED),
        ("import os; os.kill(os.getppid(), 0)", Fault.RAISED),
    ],
)
def test_a_hostile_grader_is_a_typed_failure(body: str, expected: Fault, mode: Isolation) -> None:
    assert fault(body, mode).fault is expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(60)", "import signal; signal.alarm(0)\nwhile True: pass"])
def test_one_that_does_not_end_is_killed(body: str, mode: Isolation) -> None:
    before = set(psutil.Process().children(recursive=True))
    failed = fault(body, mode, seconds=0.3)
    assert (failed.fault, failed.detail) == (Fault.TIMEOUT, "killed after 0.3 s")
    assert not set(psutil.Process().children(recursive=True)) - before


@pytest.mark.parametrize("mode", MODES)
def test_what_it_prints_goes_nowhere(mode: Isolation, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("import sys\nfor _ in range(2000): print('x' * 1000); print('y' * 1000, file=sys.stderr)\nreturn 1", mode) == 1
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        yield server


@pytest.mark.parametrize("mode", MODES)
def test_it_cannot_reach_the_network(mode: Isolation, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    body = f"import socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 1)\nexcept OSError:\n    return 0.25\nreturn 1"
    assert run(body, mode) == 0.25
    with pytest.raises(TimeoutError):
        listener.accept()


ALONE = """
import os, socket
from evalsuite.graders import sandbox_child
sandbox_child.enter_namespaces(1, os.getcwd())
try:
    socket.create_connection(("127.0.0.1", %d), 1)
except OSError as error:
    print(error.errno, flush=True)
try:
    open("/changed", "w")
except OSError as error:
    print(error.errno, flush=True)
print(os.getpid(), flush=True)
"""


@pytest.mark.skipif(isolation() is not Isolation.NAMESPACES, reason="the kernel allows no namespaces")
def test_in_namespaces_the_kernel_itself_refuses(listener: socket.socket, tmp_path: Path) -> None:
    """Without any audit hook: no network, nothing to write to, no other process."""
    script = ALONE % listener.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        process.kill()
    assert lines[1:] == [str(errno.ENETUNREACH), str(errno.EROFS), "1"]
    with pytest.raises(TimeoutError):
        listener.accept()


@pytest.mark.parametrize("mode", MODES)
def test_it_cannot_change_files(mode: Isolation, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    for attempt in (
        f"open({str(kept)!r}, 'w')",
        f"import os; os.remove({str(kept)!r})",
        f"import shutil; shutil.rmtree({str(tmp_path)!r})",
    ):
        fault(f"{attempt}\nreturn 1", mode)
    assert kept.read_text() == "kept"


@pytest.mark.parametrize("mode", MODES)
def test_it_has_no_environment_of_ours(mode: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    assert run("import os, sys\nreturn 'OPENAI_API_KEY' not in os.environ and '/nowhere' not in sys.path", mode) == 1


@pytest.mark.parametrize("mode", MODES)
def test_an_error_says_where(mode: Isolation) -> None:
    assert fault("x = {}\nreturn x['a']", mode).detail == "KeyError: 'a' (line 3)"
