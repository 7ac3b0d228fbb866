"""An upstream that misbehaves below HTTP: a raw server that answers each completion request with the next of its behaviours."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

Behaviour = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""What is done with the connection of a request for so many completions."""

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def event(text: str, index: int = 0, finish_reason: str | None = None) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def says(text: str) -> Behaviour:
    """Well-behaved: the same text for each completion."""

    async def act(writer: asyncio.StreamWriter, n: int) -> None:
        writer.write(STREAM + b"".join(event(text, index, "stop") for index in range(n)) + b"data: [DONE]\n\n")
        await writer.drain()

    return act


def writes(data: bytes, *, then: Behaviour | None = None) -> Behaviour:
    async def act(writer: asyncio.StreamWriter, n: int) -> None:
        writer.write(data)
        await writer.drain()
        if then is not None:
            await then(writer, n)

    return act


async def hangs(writer: asyncio.StreamWriter, n: int) -> None:
    await asyncio.sleep(3600)


async def resets(writer: asyncio.StreamWriter, n: int) -> None:
    """RST in place of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drips(writer: asyncio.StreamWriter, n: int) -> None:
    """Comments without end: never silent, never done."""
    while True:
        writer.write(b": wait\n\n")
        await writer.drain()
        await asyncio.sleep(0.005)


def refuses(status: int, headers: str = "") -> Behaviour:
    body = b'{"error": {"message": "busy"}}'
    return writes(f"HTTP/1.1 {status} No\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body)


class Hostile:
    """Behaviours in order, the last one again and again."""

    def __init__(self, behaviours: Sequence[Behaviour], *, models: Behaviour | None = None) -> None:
        self.url = ""
        self.asked = 0
        self._behaviours = list(behaviours)
        self._models = models
        self._tasks: set[asyncio.Task[Any]] = set()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if head.startswith("GET"):
                await (self._models or self._list)(writer, 1)
            else:
                length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
                n = json.loads(await reader.readexactly(length)).get("n", 1)
                self.asked += 1
                await self._behaviours[min(self.asked, len(self._behaviours)) - 1](writer, n)

    @staticmethod
    async def _list(writer: asyncio.StreamWriter, n: int) -> None:
        body = b'{"data": [{"id": "scripted"}]}'
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)  # the transports close in the next round of the loop
