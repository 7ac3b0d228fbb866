"""Ends a command, and all that it started, when whoever began it is gone: `python -m trainer.guard COMMAND...`.

Standard input is the lifeline: its other end is the beginner's, and the system closes it even when the beginner is killed. Only the
standard library is imported: this is a process of its own that waits.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

POLL_S = 0.1
GENTLE_S = 20.0


def main() -> int:
    """The command's exit status; 128 + the signal where a signal ended it."""
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        signal.signal(signal.SIGTERM, lambda kind, frame: sys.exit(128 + kind))
        while command.poll() is None and not _cut():
            pass
    finally:
        _end(command)
    return command.returncode if command.returncode >= 0 else 128 - command.returncode


def _cut() -> bool:
    """Whether the lifeline is cut; waits a moment to see."""
    ready, _, _ = select.select([sys.stdin], [], [], POLL_S)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def _end(command: subprocess.Popen[bytes]) -> None:
    """End the whole group: also what a command that has ended by itself left behind."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(command.pid, kind)
            command.wait(GENTLE_S)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    command.wait()


if __name__ == "__main__":
    raise SystemExit(main())
