"""Who may come in: API keys, and bodies of a bearable size. Pure ASGI, in front of every route, vLLM's own included."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redraft.errors import RedraftError, TooLarge, Unauthorized
from server.errors import response_of

OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/ping"})
"""Probes, which never need a key."""
POLICY_VIOLATION = 1008
"""The close code of RFC 6455 for a peer that may not come in."""


class ApiKeys:
    """Asks for `Authorization: Bearer KEY` everywhere but at `open_paths`. Keys are kept hashed and compared in constant time."""

    def __init__(self, app: ASGIApp, keys: Sequence[str], open_paths: Collection[str] = OPEN_PATHS) -> None:
        self.app = app
        self._open = frozenset(open_paths)
        self._hashes = [hashlib.sha256(key.encode()).digest() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and scope.get("method") != "OPTIONS" and scope["path"] not in self._open:
            fault = self._fault(Headers(scope=scope).get("authorization"))
            if fault is not None and scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": fault.message})
                return
            if fault is not None:
                await response_of(fault)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _fault(self, header: str | None) -> RedraftError | None:
        scheme, _, key = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            return Unauthorized("no API key: send the header `Authorization: Bearer KEY`")
        digest = hashlib.sha256(key.encode()).digest()
        known = False
        for kept in self._hashes:
            known |= secrets.compare_digest(digest, kept)
        return None if known else Unauthorized("this API key is not known here")


class BodyLimit:
    """Answers 413 to a body over `limit` bytes, announced or not, before any route reads it."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        size, kept = int(announced) if announced.isdecimal() else 0, []
        if size <= self.limit:
            size = 0
            while size <= self.limit:
                message = await receive()
                kept.append(message)
                size += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    break
        if size > self.limit:
            await response_of(TooLarge(f"the request body is over {self.limit} bytes"))(scope, receive, send)
            return
        await self.app(scope, _replay(kept, receive), send)


def _replay(kept: list[Message], receive: Receive) -> Receive:
    """The messages that were read, then the live ones (a disconnect among them)."""
    waiting = iter(kept)

    async def replayed() -> Message:
        message = next(waiting, None)
        return message if message is not None else await receive()

    return replayed
