"""The line between a server and its supervisor, at the server's end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from server.beat import VARIABLE, Beat


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The supervisor's end."""
    ours, theirs = socket.socketpair()
    monkeypatch.setenv(VARIABLE, str(theirs.fileno()))
    yield ours
    ours.close()
    theirs.close()


async def test_the_first_beat_waits_for_its_answer(line: socket.socket) -> None:
    taking = asyncio.create_task(Beat().take_over())
    assert await asyncio.to_thread(line.recv, 1) == b"."
    await asyncio.sleep(0.05)
    assert not taking.done()
    line.send(b".")
    await asyncio.wait_for(taking, 10)


async def test_nobody_waits_for_a_supervisor_that_is_gone(line: socket.socket) -> None:
    beat = Beat()
    line.close()
    await asyncio.wait_for(beat.take_over(), 10)
    beat()


async def test_nobody_waits_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    await asyncio.wait_for(Beat().take_over(), 10)
