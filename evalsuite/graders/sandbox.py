"""Runs a `python` grader's source in a process of its own: killable, with bounded time, memory and output, and without the network.

What holds it in: a fresh isolated interpreter with an empty environment; resource limits; a wall-clock limit after which all its
processes are killed. Where the kernel lets us, its own namespaces besides: no network device, a read-only file system, 16 MiB of
scratch space, no sight of other processes. Where it does not, an audit hook refuses sockets, processes and files to write.

What it is not: a jail for an enemy's code. The source can read what you can read, and an audit hook alone can be got round by code that
sets out to. Grade with sources that you have read; what a model wrote reaches them as data only.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import IO, Any

from evalsuite.graders.errors import Fault, GraderFailed
from evalsuite.graders.template import Item, Sample

CHILD = Path(__file__).with_name("sandbox_child.py")
START_S = 20.0
"""What the interpreter may take to start, on top of the grader's own limit."""


class Isolation(StrEnum):
    NAMESPACES = "namespaces"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Limits:
    seconds: float = 10.0
    memory_bytes: int = 512 * 1024 * 1024
    reply_bytes: int = 16 * 1024
    isolation: Isolation | None = None
    """None is the stronger one that works here."""


@cache
def isolation() -> Isolation:
    """The stronger isolation that this kernel lets an ordinary process have. Tried once."""
    limits = Limits(seconds=5.0, isolation=Isolation.NAMESPACES)
    try:
        run("probe", "def grade(sample, item):\n    return 1.0\n", Sample(""), {}, limits)
    except GraderFailed as error:
        if error.fault is not Fault.CRASHED:
            raise
        return Isolation.AUDIT
    return Isolation.NAMESPACES


def run(name: str, source: str, sample: Sample, item: Item, limits: Limits) -> float:
    """What `grade(sample, item)` of `source` returns, as a finite number. Raises GraderFailed for anything else."""
    given = {
        "source": source,
        "sample": sample.fields(),
        "item": dict(item),
        "namespaces": (limits.isolation or isolation()) is Isolation.NAMESPACES,
        "seconds": limits.seconds,
        "memory_bytes": limits.memory_bytes,
    }
    with tempfile.TemporaryDirectory(prefix="grader-", ignore_cleanup_errors=True) as scratch, tempfile.TemporaryFile() as request:
        request.write(json.dumps({**given, "scratch": scratch}).encode())
        request.seek(0)
        with _Child(name, request, scratch, limits.reply_bytes) as child:
            child.start()
            reply = child.reply(limits.seconds)
    return _number(name, reply)


def _number(name: str, reply: Mapping[str, Any]) -> float:
    if "value" not in reply:
        raise GraderFailed(name, Fault(reply["fault"]), str(reply.get("detail"))[:500])
    value = reply["value"]
    if not isinstance(value, float) or not math.isfinite(value):
        raise GraderFailed(name, Fault.NOT_A_NUMBER, f"expected grade() to return a finite number, found {str(value)[:80]}")
    return value


class _Child:
    """The process of one grading, and the pipe from it. Two lines come: who it is, before the source runs; and the reply."""

    def __init__(self, name: str, request: IO[bytes], scratch: str, limit: int) -> None:
        self.name = name
        self._limit = limit
        self._buffer = b""
        self._inner: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(CHILD)],
            stdin=request,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=scratch,
            env={},
            bufsize=0,
            start_new_session=True,
        )

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *exc: object) -> None:
        """Kill whatever still runs. The first process of a namespace takes all others in it along; it stays unreaped until then."""
        if self._inner is not None:
            _kill(self._inner)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()

    def start(self) -> None:
        """Wait until the process is held in and about to run the source."""
        started = self._line(START_S)
        if "fault" in started:
            raise GraderFailed(self.name, Fault(started["fault"]), started["detail"])
        self._inner = started["pid"]

    def reply(self, seconds: float) -> Mapping[str, Any]:
        """The score or the fault. The source may have written it itself: it is believed as far as its shape goes."""
        reply = self._line(seconds)
        if "value" not in reply and reply.get("fault") not in [fault.value for fault in Fault]:
            raise GraderFailed(self.name, Fault.OUTPUT, "its process wrote a reply that is none")
        return reply

    def _line(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise GraderFailed(self.name, Fault.TIMEOUT, f"killed after {seconds:g} s")
            chunk = os.read(descriptor, 65536)
            if not chunk:
                raise GraderFailed(self.name, Fault.CRASHED, "its process ended without a reply")
            self._buffer += chunk
            if len(self._buffer) > self._limit:
                raise GraderFailed(self.name, Fault.OUTPUT, f"its reply is over {self._limit} bytes")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return self._object(line)

    def _object(self, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise GraderFailed(self.name, Fault.OUTPUT, "its process wrote a reply that is none")
        return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
