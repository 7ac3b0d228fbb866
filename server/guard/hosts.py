"""Which names this server answers to. On a loopback address only a page of this machine may ask: another site that has had its name
rebound to 127.0.0.1, or that sends a form there, is refused by its `Host` or its `Origin`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from redraft.errors import BadRequest, Forbidden
from server.guard.refusal import refuse

ANY = frozenset({"", "0.0.0.0", "::"})
SOCKET = "unix:"
"""How the path of a Unix socket is told from an address. No browser reaches one."""


def is_public(host: str | None) -> bool:
    """Whether others than this machine can reach a server that listens on `host`. A name that is not `localhost` counts as public."""
    if host is None or host in ANY:
        return True
    return not host.startswith(SOCKET) and not _is_loopback(host)


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_bind(host: str | None, *, has_keys: bool, allowed: bool) -> None:
    """Raises BadRequest for a server that anybody could use."""
    if is_public(host) and not has_keys and not allowed:
        raise BadRequest(
            f"--host {host or '0.0.0.0'}: others could reach this server and it has no API key. Make one with `redraft keys create`, "
            "give one with --api-key or REDRAFT_API_KEY, or say --public-without-keys",
            param="host",
        )


class Hosts:
    """`names` are answered besides the loopback's own. Bound to a public address without names, any name will do."""

    def __init__(self, app: ASGIApp, *, bind: str | None, names: Collection[str] = ()) -> None:
        self.app = app
        self._any = not names and (is_public(bind) or (bind or "").startswith(SOCKET))
        self._names = frozenset(name.lower().rstrip(".") for name in (*names, bind or "")) - ANY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._any and scope["type"] in {"http", "websocket"}:
            for header, value in scope["headers"]:
                if header not in {b"host", b"origin"}:
                    continue
                text = value.decode("latin-1")
                name = _name(f"//{text}" if header == b"host" else text)
                if name is None or not (name in self._names or _is_loopback(name)):
                    said = f"the header `{header.decode().title()}: {text[:100]}` names none of this server's hosts"
                    await refuse(Forbidden(f"{said}; the setting `guard.hosts` adds some"), scope, receive, send)
                    return
        await self.app(scope, receive, send)


def _name(url: str) -> str | None:
    """The host of a URL in the form it is compared in, or None."""
    try:
        name = urlsplit(url).hostname
    except ValueError:
        return None
    return None if name is None else name.lower().rstrip(".")
