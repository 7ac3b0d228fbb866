"""The engine's processes wait for a message instead of polling for it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from server.engine import fixes

pytestmark = pytest.mark.e2e


class Poller:
    """Notes how long it was asked to wait; nothing ever comes."""

    def __init__(self) -> None:
        self.waits: list[int | None] = []

    def poll(self, timeout: int | None) -> list[Any]:
        self.waits.append(timeout)
        return []


def test_a_reader_waits_at_once_and_never_long() -> None:
    from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

    fixes.waiting_without_spinning()
    fixes.waiting_without_spinning()
    reader = object.__new__(SpinCondition)
    reader.is_reader, reader.busy_loop_s, reader.poller = True, 1.0, Poller()
    reader.read_cancel_socket = reader.local_notify_socket = None
    for timeout in (None, 60_000, 1):
        reader.last_read = time.monotonic()
        reader.wait(timeout)
    assert reader.poller.waits == [fixes.POLL_MS, fixes.POLL_MS, 1]
