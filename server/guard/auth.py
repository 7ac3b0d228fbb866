"""Who may come in: asks for `Authorization: Bearer KEY`, and for the scope that the route needs."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from redraft.errors import Forbidden, RedraftError, Unauthorized
from server.guard.refusal import refuse
from server.keys import routes
from server.keys.key import Key
from server.keys.key import Scope as KeyScope
from server.keys.ring import Keyring

IN_SCOPE = "redraft.key"
"""Where a request's key is in its scope. There is none on a server that asks for no keys."""
WORKING = frozenset({KeyScope.INFER, KeyScope.EVAL})
"""Scopes whose routes use the engine."""


def key_of(scope: Scope) -> Key | None:
    found = scope.get(IN_SCOPE)
    return found if isinstance(found, Key) else None


def route_path(scope: Scope) -> str:
    """The path as routes see it: without the prefix that the application is mounted under."""
    path, prefix = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path


class ApiKeys:
    """`pages` are paths that anybody may read, beside the probes: they hold nothing of this server."""

    def __init__(self, app: ASGIApp, ring: Keyring, pages: Collection[str] = ()) -> None:
        self.app = app
        self._ring = ring
        self._open = routes.OPEN | {("GET", page) for page in pages}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and scope.get("method") != "OPTIONS" and self._ring.is_asked:
            method, path = scope.get("method", "WEBSOCKET"), route_path(scope)
            if ("GET" if method == "HEAD" else method, path) not in self._open:
                try:
                    scope[IN_SCOPE] = self._admitted(Headers(scope=scope).get("authorization"), method, path)
                except RedraftError as error:
                    await refuse(error, scope, receive, send)
                    return
        await self.app(scope, receive, send)

    def _admitted(self, header: str | None, method: str, path: str) -> Key:
        """The key, if it may use this route now. Raises Unauthorized, Forbidden and Overloaded."""
        scheme, _, secret = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Unauthorized("no API key: send the header `Authorization: Bearer KEY`")
        key = self._ring.find(secret.strip())
        if key is None:
            raise Unauthorized("this API key is not known here")
        if (fault := key.fault()) is not None:
            raise Unauthorized(fault)
        scope = routes.needed(method, path)
        if not key.may(scope):
            held = ", ".join(sorted(key.scopes)) or "none"
            raise Forbidden(f"{method} {path[:100]} needs an API key with the scope `{scope}`; this one has {held}")
        self._ring.meter(key).request()
        return key
