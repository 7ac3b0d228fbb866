"""In front of every route: an alias in a request's `model` or `critic` becomes the revision that answers, which stays loaded until the
response has ended, however it ends. So an alias works wherever a model's name does, and one request never meets two revisions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.adapters.names import LOOP_SUFFIX
from server.adapters.registry import Registry
from server.adapters.slots import Lease
from server.guard.bodies import PARSED

FIELDS = ("model", "critic")
OF_A_REQUEST = "redraft.leases"
"""Where a request's leases are in its scope."""


class Leases:
    """The leases of one request. `key` identifies its conversation, so that a canary answers all of it or none."""

    def __init__(self, registry: Registry, key: str) -> None:
        self._registry = registry
        self._key = key
        self._taken: dict[str, Lease] = {}

    def take(self, name: str) -> str:
        """The revision that answers for `name` in this request; a name that is no adapter of the registry as it is."""
        plain = name.removesuffix(LOOP_SUFFIX)
        if plain not in self._taken:
            lease = self._registry.lease(plain, self._key)
            if lease is None:
                return name
            self._taken[plain] = lease
        return self._taken[plain].name + name[len(plain) :]

    def asked(self, name: str) -> str:
        """What the request called the revision `name`: the other way round."""
        return next((plain for plain, lease in self._taken.items() if lease.name == name), name)

    def release(self) -> None:
        for lease in self._taken.values():
            lease.release()


def asked_as(scope: Scope, name: str | None) -> str | None:
    """What the request of this scope itself said, where `name` stands in its body now."""
    leases = scope.get(OF_A_REQUEST)
    return leases.asked(name) if isinstance(leases, Leases) and name is not None else name


@contextmanager
def kept(registry: Registry | None, names: Iterable[str]) -> Iterator[None]:
    """Keep revisions loaded for work that may outlive its request."""
    taken = [] if registry is None else [registry.lease(name) for name in names]
    try:
        yield
    finally:
        for lease in taken:
            if lease is not None:
                lease.release()


def revision_of(scope: Scope, name: str) -> str:
    """What answers for `name` in the request of this scope, for a name that does not come from its body."""
    leases = scope.get(OF_A_REQUEST)
    return leases.take(name) if isinstance(leases, Leases) else name


class AdapterNames:
    """The ASGI middleware. It stands behind the body's limit, so that a body it reads is of a bearable size."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        registry = _registry(scope)
        if registry is None or not registry.aliases:
            await self.app(scope, receive, send)
            return
        messages = await _read(receive)
        body = b"".join(message.get("body", b"") for message in messages)
        found = scope[PARSED] if PARSED in scope else _object(body)
        leases = Leases(registry, "" if found is None else conversation(found))
        try:
            if found is not None:
                named = {field: leases.take(found[field]) for field in FIELDS if isinstance(found.get(field), str)}
                if any(found[field] != name for field, name in named.items()):
                    body = json.dumps({**found, **named}, separators=(",", ":")).encode()
                    scope = {**scope, "headers": list(scope["headers"])}
                    MutableHeaders(scope=scope)["content-length"] = str(len(body))
                    messages = [{"type": "http.request", "body": body, "more_body": False}]
            scope[OF_A_REQUEST] = leases
            await self.app(scope, _replay(messages, receive), send)
        finally:
            leases.release()


def conversation(body: dict[str, Any]) -> str:
    """What stays the same through a conversation: what the client calls it, else how it began."""
    metadata = body.get("metadata")
    named = metadata.get("conversation_id") if isinstance(metadata, dict) else None
    for given in (named, body.get("conversation"), body.get("user"), body.get("prompt_cache_key")):
        if isinstance(given, str) and given:
            return given
    messages = body.get("messages", body.get("input"))
    if isinstance(messages, list):
        first = [m.get("content") for m in messages if isinstance(m, dict) and m.get("role") == "user"]
        return json.dumps(first[:1] or messages[:1])
    return json.dumps([body.get(field) for field in ("problem", "prompt", "input")])


def _registry(scope: Scope) -> Registry | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    parts = getattr(scope["app"].state, "redraft", None)
    found = None if parts is None else parts.adapters
    return None if found is None else found.registry


async def _read(receive: Receive) -> list[Message]:
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _object(body: bytes) -> dict[str, Any] | None:
    """The body's JSON object, if it is one and names a model or a critic. What is wrong with others is for their routes to say."""
    if not any(f'"{field}"'.encode() in body for field in FIELDS) and b"\\u" not in body:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _replay(messages: list[Message], receive: Receive) -> Receive:
    """The messages that were read, then the live ones (a disconnect among them)."""
    waiting = iter(messages)

    async def replayed() -> Message:
        message = next(waiting, None)
        return message if message is not None else await receive()

    return replayed
