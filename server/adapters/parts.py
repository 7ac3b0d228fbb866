"""A server's adapters, put together once: the registry, and what keeps it in step with a declared file."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from redraft.errors import BadRequest
from redraft.home import home
from server.adapters.admission import Gate, Rules
from server.adapters.base import Base
from server.adapters.declared import Problem, Reconciler
from server.adapters.hub import Hub
from server.adapters.ledger import Ledger
from server.adapters.registry import Observer, Registry
from server.adapters.slots import AdapterHost, Slots
from server.adapters.store import DAY_S, Store
from server.config import AdapterSettings

INBOX = "adapters-in"
"""The folder in REDRAFT_HOME that adapters may always come from."""
HUB = "hub"
"""Beside our copies: what was fetched from the hub."""


@dataclass(frozen=True, slots=True)
class Adapters:
    registry: Registry
    reconciler: Reconciler | None

    @property
    def converged(self) -> bool:
        return self.reconciler is None or self.reconciler.converged

    @property
    def problems(self) -> list[Problem]:
        return [] if self.reconciler is None else self.reconciler.problems

    async def start(self) -> asyncio.Task[None] | None:
        """Serve what was served before and what the file declares; then keep looking at the file."""
        await self.registry.restore()
        if self.reconciler is None:
            return None
        await self.reconciler.once()
        return asyncio.create_task(self.reconciler.run())


def state_file(root: Path, model: str, at: int | str) -> Path:
    """Where one server writes down its aliases: the server of this model at this port, or Unix socket, is the same after a restart."""
    place = at if isinstance(at, int) else _digest(at)
    return root / f"state-{_digest(model)}-{place}.sqlite"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def build(settings: AdapterSettings, host: AdapterHost, base: Base, observer: Observer, *, model: str, at: int | str) -> Adapters:
    """Raises StateFailed when the state's file cannot be used."""
    root = settings.folder or home() / "adapters"
    relative = [str(path) for path in settings.roots if not path.expanduser().is_absolute()]
    if relative:
        raise BadRequest(f"setting `adapters.roots`: {relative[0]} must be an absolute path", param="adapters.roots")
    inbox = home() / INBOX
    inbox.mkdir(parents=True, exist_ok=True)
    roots = (inbox, *(path.expanduser() for path in settings.roots))
    store = Store(root)
    hub = Hub(root / HUB, allowed=settings.hub, max_bytes=settings.max_bytes)
    gate = Gate(base, store, Rules(roots, settings.max_bytes, settings.require_manifest), hub)
    ledger = Ledger(state_file(root, model, at))
    registry = Registry(Slots(host, store, wait_s=settings.wait_s), gate, ledger, observer)
    store.sweep(unused_s=settings.keep_days * DAY_S)
    return Adapters(registry, None if settings.file is None else Reconciler(registry, settings.file, every_s=settings.reconcile_s))
