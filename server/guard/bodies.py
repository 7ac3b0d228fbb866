"""Bodies of a bearable size and contents, read and parsed once for all guards; and what a key may ask for in them."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redraft.errors import BadRequest, Forbidden, RedraftError, TooLarge
from server.adapters.names import LOOP_SUFFIX
from server.guard import auth
from server.guard.caps import Caps
from server.guard.refusal import refuse
from server.guard.usage import Counted
from server.keys import routes, salt
from server.keys.key import Key
from server.keys.ring import Keyring

PARSED = "redraft.body"
"""Where a body's JSON object is in a request's scope, for who stands behind."""
CHARACTERS_A_TOKEN = 4
HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""The escape of one half of a surrogate pair; most bodies have none, those with emoji have both halves."""
NAMES = ("model", "critic")
LONGEST = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class Bodies:
    def __init__(self, app: ASGIApp, *, ring: Keyring, caps: Caps, body_bytes: int, cache_salt: bool) -> None:
        self.app = app
        self._ring, self._caps, self._most, self._salts = ring, caps, body_bytes, cache_salt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with ExitStack() as held:
            try:
                body, rest = await self._read(scope, receive)
                found = self._checked(scope, body)
                scope, body, send = self._admitted(scope, body, found, send, held)
            except RedraftError as error:
                await refuse(error, scope, receive, send)
                return
            except RecursionError:
                await refuse(BadRequest("the body is nested too deep"), scope, receive, send)
                return
            if found is not None:
                scope[PARSED] = found
            first = rest or [{"type": "http.request", "body": body, "more_body": False}]
            await self.app(scope, _replay(first, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> tuple[bytes, list[Message]]:
        """The whole body; or, of a client that has gone, what came. Raises TooLarge."""
        announced = Headers(scope=scope).get("content-length", "0")
        size, pieces = int(announced) if announced.isdecimal() else 0, []
        if size <= self._most:
            size = 0
            while size <= self._most:
                message = await receive()
                if message["type"] != "http.request":
                    return b"", [message]
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if not message.get("more_body", False):
                    break
        if size > self._most:
            raise TooLarge(f"the request body is over {self._most} bytes")
        return b"".join(pieces), []

    def _checked(self, scope: Scope, body: bytes) -> dict[str, Any] | None:
        """The body's JSON object, held to the caps. None for what is no JSON and need not be."""
        path = auth.route_path(scope)
        must = scope["method"] == "POST" and path in routes.JSON
        if not body and not must:
            return None
        try:
            found = json.loads(body)  # as the routes read it, so that nothing passes here that they would read differently
        except (ValueError, RecursionError) as error:
            if must:
                raise BadRequest(f"the body is not JSON: {error}") from error
            return None
        if not isinstance(found, dict):
            if must:
                raise BadRequest(f"the body must be a JSON object, not a {type(found).__name__}")
            return None
        self._caps.check(found)
        if must and path not in routes.SOLVING and HALF.search(body) is not None:
            _check_unicode(found)
        return found

    def _admitted(self, scope: Scope, body: bytes, found: dict[str, Any] | None, send: Send, held: ExitStack) -> tuple[Scope, bytes, Send]:
        """What the request's key allows: models, tokens, loops at once; and the key's salt. Raises Forbidden and Overloaded."""
        key = auth.key_of(scope)
        path = auth.route_path(scope)
        if key is None or scope["method"] != "POST" or routes.needed("POST", path) not in auth.WORKING:
            return scope, body, send
        if key.models:
            _check_models(key, found)
        if found is None:
            return scope, body, send
        meter = self._ring.meter(key)
        is_loop = path in routes.SOLVING or _is_loop(found)
        if is_loop:
            held.enter_context(meter.loop())
        if meter.counts_tokens:
            reserved = _expected(body, found)
            meter.reserve(reserved)
            send = counted = Counted(send)
            held.callback(lambda: meter.settle(reserved, counted.tokens(reserved)))
        if self._salts and self._ring.is_shared:
            return *_salted(scope, body, found, key, path=path, is_loop=is_loop), send
        return scope, body, send


def _check_unicode(found: dict[str, Any]) -> None:
    """Half of a surrogate pair is valid in JSON and in no text: what reads it further on would fail."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRequest("the body holds half of a surrogate pair, which is no text") from error


def _check_models(key: Key, body: dict[str, Any] | None) -> None:
    """A key with a list of models must name one of them: without a name the base model would answer."""
    allowed = ", ".join(f"`{name}`" for name in sorted(key.models))
    named = {} if body is None else {field: body[field] for field in NAMES if isinstance(body.get(field), str)}
    if "model" not in named:
        raise Forbidden(f"this API key must name its model: {allowed}", param="model")
    for field, name in named.items():
        if not key.may_use(name.removesuffix(LOOP_SUFFIX)):
            raise Forbidden(f"this API key may not use `{name[:80]}`; it may use {allowed}", param=field)


def _is_loop(body: dict[str, Any]) -> bool:
    model = body.get("model")
    return isinstance(model, str) and model.endswith(LOOP_SUFFIX)


def _expected(body: bytes, found: dict[str, Any]) -> int:
    """A guess at what a request takes, until its reply says so."""
    given = [found.get(name) for name in LONGEST]
    n = found.get("n")
    longest = max((value for value in given if isinstance(value, int)), default=0)
    return len(body) // CHARACTERS_A_TOKEN + max(0, longest) * max(1, n if isinstance(n, int) else 1)


def _salted(scope: Scope, body: bytes, found: dict[str, Any], key: Key, *, path: str, is_loop: bool) -> tuple[Scope, bytes]:
    """The salt goes into the body where vLLM takes one, and into the scope for the calls of a loop."""
    brought = found.get(salt.FIELD)
    salted = salt.salt_of(key, brought if isinstance(brought, str) else "")
    scope = {**scope, salt.IN_SCOPE: salted}
    if is_loop or path not in routes.SALTED:
        return scope, body
    found[salt.FIELD] = salted
    body = _with_field(body, found, salted)
    scope["headers"] = list(scope["headers"])
    MutableHeaders(scope=scope)["content-length"] = str(len(body))
    return scope, body


def _with_field(body: bytes, found: dict[str, Any], salted: str) -> bytes:
    """The body with the salt in it: put before its last brace, where it wins over a field of the same name, without writing it anew."""
    text = body.rstrip(b" \t\r\n")
    if text.startswith(b"{") and text.endswith(b"}") and len(found) > 1:
        return text[:-1] + f',"{salt.FIELD}":"{salted}"}}'.encode()
    return json.dumps(found, separators=(",", ":")).encode()


def _replay(kept: list[Message], receive: Receive) -> Receive:
    """The messages that were read, then the live ones (a disconnect among them)."""
    waiting = iter(kept)

    async def replayed() -> Message:
        message = next(waiting, None)
        return message if message is not None else await receive()

    return replayed
