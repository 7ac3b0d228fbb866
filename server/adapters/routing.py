"""Where an alias points: which revision answers a conversation, and what a change makes of it. Pure; knows no slots and no engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from redraft.errors import BadRequest
from server.adapters.errors import Conflict
from server.adapters.ledger import Route

BUCKETS = 10_000


def answering(route: Route, alias: str, key: str) -> str | None:
    """The revision that answers the conversation `key`: the canary for its share of them, else what serves."""
    if route.canary is not None and bucket(alias, key) < route.percent * BUCKETS / 100:
        return route.canary
    return route.current


def bucket(alias: str, key: str) -> int:
    """Where a conversation stands among BUCKETS. It does not depend on the revision: a canary that grows keeps whom it had."""
    return int.from_bytes(hashlib.sha256(f"{alias}\0{key}".encode("utf-8", "replace")).digest()[:8], "big") % BUCKETS


@dataclass(frozen=True, slots=True)
class Flip:
    """A change of one alias: what it should point at, given where it points now."""

    action: str
    owner: str
    route: Callable[[Route], Route]
    why: Mapping[str, Any] | None = None


def taking_over(action: str, name: str, owner: str, why: Mapping[str, Any] | None = None) -> Flip:
    """`name` becomes what serves; what served before becomes the previous revision."""

    def route(now: Route) -> Route:
        return Route(name, now.previous if now.current == name else now.current, None, 0.0, owner)

    return Flip(action, owner, route, why)


def replacing(name: str, canary: float | None, owner: str) -> Flip:
    """`name` becomes what serves, or the canary of what serves with that share of conversations, in percent."""
    if canary is None:
        return taking_over("swap", name, owner)

    def route(now: Route) -> Route:
        if now.current is None:
            raise BadRequest("nothing serves under this name yet: a canary needs a revision to stand beside", param="canary")
        if now.current == name:
            raise Conflict(f"`{name}` already serves: it cannot be its own canary")
        return Route(now.current, now.previous, name, canary, owner)

    return Flip("canary", owner, route)


def sharing(percent: float, owner: str) -> Flip:
    """The canary that is there gets another share."""
    return Flip("canary", owner, lambda now: replace(now, percent=percent))


def without_canary(owner: str) -> Flip:
    return Flip("rollback", owner, lambda now: replace(now, canary=None, percent=0.0))
