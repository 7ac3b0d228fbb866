"""A process that dies at work: a fork of this one, which has the libraries loaded already."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable


def dies(work: Callable[[], object]) -> None:
    """Do `work` in a fork, where it must end itself with SIGKILL. The test needs the fixture `one_thread`."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
