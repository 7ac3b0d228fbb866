"""Who stands in for a server hears a request out before it answers, however its body comes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from benchmarks.servers import free_port
from server.standin import LONGEST_BODY, StandIn

LONG = b"x" * (3 << 20)
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\n"


@pytest.fixture
def port() -> Iterator[int]:
    number = free_port()
    stand_in = StandIn("127.0.0.1", number)
    stand_in.begin()
    yield number
    stand_in.close()


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
