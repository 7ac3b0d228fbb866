"""A small parent process: keeps the server alive, and ends it with all that it started. Imports neither torch nor vllm.

vLLM's server exits when its engine dies, and does not when its engine hangs. So the server beats on a line to us while it is live; one that
ends unasked, or whose beats stop, is ended with its whole process group and started again, later each time, a limited number of times.
One that never came up is not: starting it again would not help. While there is no server that is up, the stand-in answers at its port.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

from server import beat, standin

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TICK_S = 0.25
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
END_S = 5.0
"""Between the friendly end of a process group and the hard one."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


@dataclass(frozen=True, slots=True)
class Patience:
    """`silence_s`: without a beat for so long a server hangs. `restarts` in a row, each by a server that lived less than `good_s`."""

    restarts: int = 5
    silence_s: float = 30.0
    good_s: float = 600.0


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _heard(line: socket.socket) -> bool:
    """Did the server beat? False when it has closed the line; one that dies with an unread answer resets it."""
    with contextlib.suppress(ConnectionResetError):
        return bool(line.recv(4096))
    return False


class Supervisor:
    """`say` is told, in one line each, what happens."""

    def __init__(self, command: Sequence[str], patience: Patience, say: Callable[[str], None], *, address: tuple[str, int] | None) -> None:
        """Opens `address`, (host, port), for the server and its stand-in; with None the server opens its own. Raises OSError."""
        self._command = list(command)
        self._standin = None if address is None else standin.StandIn(*address, preexec=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        self._patience = patience
        self._say = say
        self._child: subprocess.Popen[bytes] | None = None
        self._asked: int | None = None
        self._came_up = False
        self._began = 0.0

    def run(self) -> int:
        """Supervise until the server ends for good. Returns the exit code that it ended with."""
        heard = [kind for kind in FORWARDED if signal.getsignal(kind) != signal.SIG_IGN]  # nohup ignores one of them
        before = {kind: signal.signal(kind, self._on_signal) for kind in heard}
        _prctl(PR_SET_CHILD_SUBREAPER, 1)  # what the server leaves behind is ours to end
        try:
            return self._keep_up()
        finally:
            if self._standin is not None:
                self._standin.close()
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _keep_up(self) -> int:
        tries = 0
        while True:
            code = self._live_through()
            if self._told() or not self._came_up:
                return code
            tries = 1 if time.monotonic() - self._began >= self._patience.good_s else tries + 1
            if tries > self._patience.restarts:
                self._say(f"the server ended {tries} times in a row: giving up")
                return code or 1
            wait = min(FIRST_WAIT_S * 2 ** (tries - 1), LONGEST_WAIT_S)
            self._say(f"the server ended (exit code {code}); starting it again in {wait:g} s, {tries} of {self._patience.restarts}")
            self._sleep(wait)
            if self._told():
                return 0

    def _live_through(self) -> int:
        """One server, from its start to the end of its last process."""
        self._answer(True)
        ours, theirs = socket.socketpair()
        given, passed = {beat.VARIABLE: str(theirs.fileno())}, [theirs.fileno()]
        if self._standin is not None:
            given[standin.VARIABLE] = str(self._standin.fd)
            passed.append(self._standin.fd)
        self._began = time.monotonic()
        child = self._child = subprocess.Popen(
            self._command,
            env={**os.environ, **given},
            pass_fds=passed,
            process_group=0,  # the terminal's Ctrl-C reaches us alone: the engine is not to stop before its server
            preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509 - no thread runs here
        )
        theirs.close()
        try:
            if self._asked is not None:  # the signal came before there was anyone to tell
                child.send_signal(self._asked)
            self._watch(child, ours)
            code = child.wait()
            self._answer(not self._told())
        finally:
            self._end_group(child.pid)
            ours.close()
        return code if code >= 0 else 128 - code

    def _watch(self, child: subprocess.Popen[bytes], line: socket.socket) -> None:
        """Returns when the server has ended; one that falls silent is ended. Before the first beat it is still starting.

        The first beat asks for the port: it is answered when the stand-in takes no more connections.
        """
        silent, beating = 0.0, False
        while child.poll() is None:
            if not select.select([line], [], [], TICK_S)[0]:
                silent += TICK_S
            elif _heard(line):
                if not beating:
                    self._answer(False)
                    with contextlib.suppress(BrokenPipeError):
                        line.send(b".")
                silent, beating, self._came_up = 0.0, True, True
            else:
                time.sleep(TICK_S)  # the line is closed: it ends
                silent += TICK_S
            if beating and silent >= self._patience.silence_s:
                self._say(f"the server has not been live for {silent:g} s: ending it")
                self._signal_group(child.pid, signal.SIGKILL)
                beating = False

    def _answer(self, stand_in: bool) -> None:
        if self._standin is None:
            return
        if stand_in:
            self._standin.begin()
        else:
            self._standin.end()

    def _on_signal(self, kind: int, frame: FrameType | None) -> None:
        """Told to stop: so is the server, which drains. A second Ctrl-C ends everything at once."""
        again = self._asked is not None
        self._asked = signal.SIGTERM if kind == signal.SIGHUP else kind
        child = self._child
        if child is None or child.poll() is not None:
            return
        if again and kind == signal.SIGINT:
            self._signal_group(child.pid, signal.SIGKILL)
        else:
            child.send_signal(self._asked)

    def _told(self) -> bool:
        return self._asked is not None

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._told() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, TICK_S))

    def _end_group(self, group: int) -> None:
        """End what is left of a server whose first process has ended: friendly, then hard."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            self._signal_group(group, kind)
            self._signal_group(group, signal.SIGCONT)
            until = time.monotonic() + END_S
            while self._signal_group(group, 0):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(-group, os.WNOHANG)
                if time.monotonic() >= until:
                    break
                time.sleep(0.02)
            else:
                return

    @staticmethod
    def _signal_group(group: int, kind: int) -> bool:
        """False when nobody is left there."""
        try:
            os.killpg(group, kind)
        except ProcessLookupError:
            return False
        return True
