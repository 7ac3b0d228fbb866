"""A small pool of worker processes: each question has a wall limit, and a worker that exceeds it is killed and replaced.

Workers start when the first question comes. The pool is safe from any thread. A forked child forgets its parent's workers and
starts its own.
"""

import asyncio
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reply:
    state: str
    """`equal`, `unequal` or `open`."""
    reason: str


class WorkerError(RuntimeError):
    """A worker process did not start, or went away."""


class _Worker:
    """One process and the two pipes to it."""

    def __init__(self, start_limit_s: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "evalsuite.checker.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=_environment(),
        )
        self._buffer = b""
        try:
            ready = self._read(time.monotonic() + start_limit_s)
        except (TimeoutError, WorkerError):
            self.stop()
            raise WorkerError("the symbolic worker did not start") from None
        if ready.get("state") != "ready":
            self.stop()
            raise WorkerError("the symbolic worker did not say that it is ready")

    def ask(self, gold: str, pred: str, limit_s: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        line = json.dumps({"gold": gold, "pred": pred}).encode() + b"\n"
        try:
            self.process.stdin.write(line)
        except OSError:
            raise WorkerError("the symbolic worker went away") from None
        return self._read(time.monotonic() + limit_s)

    def _read(self, deadline: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError
            chunk = os.read(descriptor, 65536)
            if not chunk:
                raise WorkerError("the symbolic worker went away")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def stop(self) -> None:
        """Kills the process and waits for its end, so that nothing is left behind."""
        self.process.kill()
        self._close_pipes()
        self.process.wait()

    def forget(self) -> None:
        """Drops a process that belongs to the parent of this one."""
        self._close_pipes()
        self.process.returncode = 0

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _environment() -> dict[str, str]:
    """The environment of a worker: ours, without what would make it write, profile or inspect."""
    dropped = {"PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONPROFILEIMPORTTIME", "PYTHONTRACEMALLOC", "PYTHONMALLOC"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}


class Pool:
    """At most `size` workers; a question waits for a free one."""

    def __init__(self, size: int = 2, limit_s: float = 2.0, start_limit_s: float = 30.0) -> None:
        self.limit_s = limit_s
        self._start_limit_s = start_limit_s
        self._size = size
        self._reset()
        os.register_at_fork(after_in_child=self._forget)

    def _reset(self) -> None:
        self._free: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._size)
        self._threads: ThreadPoolExecutor | None = None

    def _forget(self) -> None:
        workers = [*self._free, *self._busy]
        self._reset()
        for worker in workers:
            worker.forget()

    def ask(self, gold: str, pred: str) -> Reply:
        """What a worker finds, or `open` with the reason when it was stopped."""
        with self._places:
            try:
                worker = self._take()
            except WorkerError as error:
                return Reply("open", str(error))
            try:
                reply = worker.ask(gold, pred, self.limit_s)
            except TimeoutError:
                self._drop(worker)
                return Reply("open", f"stopped after {self.limit_s:g} s")
            except (WorkerError, ValueError):
                self._drop(worker)
                return Reply("open", "the symbolic worker ended, most likely at its memory limit")
            self._give(worker)
            return Reply(str(reply["state"]), str(reply["reason"]))

    async def run(self, work: Callable[[], Result]) -> Result:
        """Runs blocking work in a thread of the pool's own, so that waiting for a worker takes no thread from anybody else."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="checker")
            threads = self._threads
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def _take(self) -> _Worker:
        with self._lock:
            if self._free:
                worker = self._free.pop()
                self._busy.add(worker)
                return worker
        worker = _Worker(self._start_limit_s)
        with self._lock:
            self._busy.add(worker)
        return worker

    def _give(self, worker: _Worker) -> None:
        with self._lock:
            if worker in self._busy:
                self._busy.discard(worker)
                self._free.append(worker)

    def _drop(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
        worker.stop()

    def close(self) -> None:
        """Ends all workers. The pool starts new ones when it is asked again."""
        with self._lock:
            workers = [*self._free, *self._busy]
            self._free, self._busy = [], set()
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False)
        for worker in workers:
            worker.stop()
