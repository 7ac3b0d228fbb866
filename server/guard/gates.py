"""Puts the guards in front of an app's routes: from the outside in, its names, its keys, and what bodies may hold."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI

from server.config import ServeSettings
from server.guard import hosts
from server.guard.auth import ApiKeys
from server.guard.bodies import Bodies
from server.guard.caps import Caps
from server.guard.hosts import Hosts
from server.keys import store
from server.keys.ring import Keyring


def keyring(settings: ServeSettings, *, bind: str | None) -> Keyring:
    """The keys of a server that is to listen on `bind`. Raises BadRequest when it must not, KeyFileBroken."""
    allowed = settings.guard.public_without_keys
    closed = hosts.is_public(bind) and not allowed
    ring = Keyring(settings.api_key, settings.guard.keys_file or store.default_file(), closed=closed)
    hosts.check_bind(bind, has_keys=ring.has_keys, allowed=allowed)
    return ring


def check_bodies(app: FastAPI, settings: ServeSettings, ring: Keyring) -> None:
    limits, guard = settings.limits, settings.guard
    caps = Caps(limits, frozenset(guard.template_kwargs))
    app.add_middleware(Bodies, ring=ring, caps=caps, body_bytes=limits.body_bytes, cache_salt=guard.cache_salt)


def check_callers(app: FastAPI, settings: ServeSettings, ring: Keyring, *, bind: str | None, pages: Collection[str]) -> None:
    app.add_middleware(ApiKeys, ring=ring, pages=pages)
    app.add_middleware(Hosts, bind=bind, names=settings.guard.hosts)
