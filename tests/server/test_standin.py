"""Who stands in for a server hears a request out before it answers, however its body comes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.servers import free_port
from server import standin
from server.standin import LONGEST_BODY, POLL_S, StandIn

LONG = b"x" * (3 << 20)
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\n"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(autouse=True)
def stand_in(port: int) -> Iterator[StandIn]:
    found = StandIn("127.0.0.1", port)
    found.begin()
    yield found
    found.close()


def answer(port: int, request: bytes) -> bytes:
    """All that comes back; a connection that is reset before that raises."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def chunked(*pieces: bytes) -> bytes:
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Content-Length: %d\r\n\r\n" % len(LONG) + LONG,
        chunked(LONG, b"tail", b""),
        chunked(b"a", LONG) + b"0;last=1\r\nX-Trailer: 1\r\n\r\n",
        chunked() + b"no size\r\n",
        HEAD + b"\r\n",
    ],
    ids=["whole", "chunks", "trailer", "broken", "no body"],
)
def test_the_answer_is_whole_however_the_body_came(port: int, request_: bytes) -> None:
    head, _, body = answer(port, request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5" in head
    assert json.loads(body)["error"]["type"] == "service_unavailable"


def test_nobody_is_heard_without_end(port: int) -> None:
    piece = b"y" * (1 << 20)
    endless = chunked(*[piece] * (LONGEST_BODY // len(piece)))
    assert answer(port, endless).startswith(b"HTTP/1.1 503 ")


def test_whoever_was_heard_is_answered_before_the_end(port: int, stand_in: StandIn) -> None:
    assert answer(port, HEAD + b"\r\n")  # it is up
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(HEAD + b"Content-Length: 4\r\n\r\n12")
        time.sleep(5 * POLL_S)  # accepted
        ending = threading.Thread(target=stand_in.end)
        ending.start()
        time.sleep(5 * POLL_S)
        client.sendall(b"34")
        assert client.recv(65536).startswith(b"HTTP/1.1 503 ")
        ending.join()


def test_nobody_holds_up_the_end(port: int, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "END_S", 0.2)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(HEAD)
        time.sleep(5 * POLL_S)
        stand_in.end()
        with contextlib.suppress(ConnectionResetError):  # whether it is that depends on what was left unread
            assert client.recv(65536) == b""
