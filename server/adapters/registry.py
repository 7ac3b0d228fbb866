"""Which revision an alias means. A state machine over `slots` and the ledger; knows no engine and no HTTP.

A change is: admit, wait for a slot, load, write down, switch. The switch is one assignment on the event loop, so a request sees the old
revision or the new one, never something between, and a change that fails leaves what served before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from redraft.errors import RedraftError
from server.adapters.admission import Admitted, Gate
from server.adapters.attempts import Attempt, Attempts
from server.adapters.errors import Check, Conflict, Refused, UnknownAdapter
from server.adapters.ledger import Ledger, Revision, Route
from server.adapters.names import SHORT, check_alias
from server.adapters.routing import Flip, answering, replacing, sharing, taking_over, without_canary
from server.adapters.slots import Lease, Slots, State

HTTP, FILE = "http", "file"


class Observer(Protocol):
    """Told of what is worth counting."""

    def adapter_swap(self, result: str, seconds: float) -> None: ...

    def adapter_refused(self, check: str) -> None: ...


class Registry:
    def __init__(self, slots: Slots, gate: Gate, ledger: Ledger, observer: Observer) -> None:
        self.gate = gate
        self._slots = slots
        self._ledger = ledger
        self._observer = observer
        self._routes: dict[str, Route] = {}
        self._known: dict[str, Revision] = {}
        self._attempts = Attempts()

    # --- requests -----------------------------------------------------------------------------------------------------------------

    def choose(self, name: str, key: str) -> str | None:
        """The revision that answers for `name` (an alias, or a revision that serves); `key` identifies the conversation."""
        route = self._routes.get(name)
        if route is None:
            return name if self._slots.serves(name) else None
        return answering(route, name, key)

    def lease(self, name: str, key: str = "") -> Lease | None:
        """Choose a revision and keep it loaded until the lease is released. None when `name` is no adapter that serves here."""
        chosen = self.choose(name, key)
        return None if chosen is None else self._slots.lease(chosen)

    # --- changes ------------------------------------------------------------------------------------------------------------------

    async def put(self, alias: str, source: str, *, canary: float | None = None, owner: str = HTTP) -> None:
        """Admit `source` and make it what `alias` serves, or its canary. Whatever fails, what served before goes on serving."""
        started = time.monotonic()
        try:
            await self._put(alias, source, canary, owner)
        except RedraftError as error:
            if isinstance(error, Refused):
                self._observer.adapter_refused(error.check.value)
            self._observer.adapter_swap("refused" if error.status < 500 else "failed", time.monotonic() - started)
            raise
        self._observer.adapter_swap("served", time.monotonic() - started)

    async def _put(self, alias: str, source: str, canary: float | None, owner: str) -> None:
        check_alias(alias)
        if alias in self.gate.base.names:
            raise Refused(Check.NAME, f"`{alias}` is the name of a model that is served here")
        self._owned(alias, owner)
        attempt = self._attempts.begin(alias, source, served=self._routes)
        try:
            admitted = await asyncio.to_thread(self.gate.admit, source)
            revision = revision_of(alias, source, admitted)
            attempt.state = State.LOADING
            await self._switch(alias, revision, replacing(revision.name, canary, owner))
        except RedraftError as error:
            attempt.fail(error)
            raise
        self._attempts.done(alias, attempt)

    async def point(self, alias: str, revision: str, *, canary: float | None = None, owner: str = HTTP) -> None:
        """Make a revision that is known (by its name, or its hash alone) what `alias` serves, or its canary."""
        route = self._existing(alias, owner)
        name = revision if "@" in revision else f"{alias}@{revision[:SHORT]}"
        if name not in route.revisions():
            raise UnknownAdapter(f"`{name[:120]}` is no revision of `{alias}`; it has {', '.join(route.revisions())}", param="revision")
        await self._switch(alias, self._known[name], replacing(name, canary, owner))

    async def rollback(self, alias: str, *, owner: str = HTTP) -> None:
        """Drop the canary if there is one, else go back to the previous revision."""
        route = self._existing(alias, owner)
        if route.canary is not None:
            await self._switch(alias, None, without_canary(owner))
        elif route.previous is not None:
            await self._switch(alias, self._known[route.previous], taking_over("rollback", route.previous, owner))
        else:
            raise Conflict(f"`{alias}` has no previous revision to go back to")

    async def promote(self, alias: str, *, why: Mapping[str, Any] | None = None, owner: str = HTTP) -> None:
        """Make the canary what serves."""
        canary = self._existing(alias, owner).canary
        if canary is None:
            raise Conflict(f"`{alias}` has no canary to promote")
        await self._switch(alias, self._known[canary], taking_over("promote", canary, owner, why))

    async def set_canary(self, alias: str, percent: float, *, owner: str = HTTP) -> None:
        """Change the share of the canary that is there."""
        if self._existing(alias, owner).canary is None:
            raise Conflict(f"`{alias}` has no canary: give one with its `source`")
        await self._switch(alias, None, sharing(percent, owner))

    async def remove(self, alias: str, *, owner: str = HTTP) -> None:
        """Forget an alias; its revisions drain."""
        if alias not in self._routes and self._attempts.forget(alias):
            return
        self._existing(alias, owner)
        async with self._slots.order:
            await asyncio.to_thread(self._ledger.save, alias, None, (), action="remove")
            self._routes.pop(alias, None)
            self._attempts.forget(alias)
            self._known = {name: known for name, known in self._known.items() if known.alias != alias}
            self._retire_unneeded(alias)

    async def restore(self) -> None:
        """Serve what was served before a restart. What cannot be is `failed` with its reason, and stays written down."""
        routes, self._known = await asyncio.to_thread(self._ledger.load)
        for role in ("current", "canary", "previous"):
            for route in routes.values():
                name = getattr(route, role)
                if name is not None and name not in self._slots and not (role == "previous" and self._slots.full):
                    await self._restore_one(self._known[name])
        for alias, route in routes.items():
            current, canary = (name if name in self._slots else None for name in (route.current, route.canary))
            self._routes[alias] = replace(route, current=current, canary=canary if current else None)

    async def _restore_one(self, revision: Revision) -> None:
        try:
            await asyncio.to_thread(self._recheck, revision)
            if self._slots.full:
                raise Conflict("all slots of the engine (--max-cpu-loras) are taken")
            await self._slots.load(revision)
            self._slots.open(revision.name)
        except RedraftError as error:
            self._attempts.failed(revision.alias, revision.source, error)

    def _recheck(self, revision: Revision) -> None:
        """The copy is whole and fits this server's model; a copy that was lost is made again, from a source that has not changed."""
        if self.gate.store.hold(revision.sha256):
            self.gate.check(self.gate.store.path(revision.sha256))
        elif self.gate.admit(revision.source).sha256 != revision.sha256:
            raise Refused(Check.HASH, f"the copy of {revision.name} is lost, and {revision.source!r} holds another adapter by now")

    # --- what may be shown --------------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Every alias, those that never served and failed among them."""
        return sorted({*self._routes, *self._attempts})

    @property
    def aliases(self) -> dict[str, str]:
        """Aliases that serve, with their current revisions."""
        return {alias: route.current for alias, route in self._routes.items() if route.current is not None}

    def alias_of(self, name: str) -> str | None:
        """The alias of a name that is an alias, or a revision of one."""
        alias = name.partition("@")[0]
        return alias if alias in self._routes and (alias == name or name in self._known or name in self._slots) else None

    def calibration_of(self, name: str) -> dict[str, float] | None:
        """What a revision brought along of its rates as a critic."""
        known = self._known.get(name)
        return None if known is None else known.calibration

    def is_revision(self, name: str) -> bool:
        """True for a name that the engine knows because of us."""
        return name in self._slots

    def route(self, alias: str) -> Route | None:
        return self._routes.get(alias)

    def attempt(self, alias: str) -> Attempt | None:
        return self._attempts.get(alias)

    def state(self, alias: str) -> State:
        """SERVING as long as something serves, whatever the last attempt came to."""
        attempt = self._attempts.get(alias)
        return State.SERVING if alias in self.aliases else attempt.state if attempt is not None else State.FAILED

    def revisions(self, alias: str) -> list[tuple[Revision, State, int]]:
        """Revisions of an alias that are loaded or kept, with their states and requests in flight."""
        held = [held for held in self._slots.held if held.revision.alias == alias]
        found = [(self._known.get(h.revision.name, h.revision), h.state, self._slots.in_flight(h)) for h in held]
        loaded = {revision.name for revision, _, _ in found}
        kept = (self._routes.get(alias) or Route()).revisions()
        return found + [(self._known[name], State.UNLOADED, 0) for name in kept if name not in loaded]

    def serving(self) -> list[Revision]:
        """All revisions that take requests."""
        return [held.revision for held in self._slots.held if held.state is State.SERVING]

    def count(self, state: State) -> int:
        """How many are in a state: revisions in the engine, and attempts before they get there or after they failed."""
        attempts = 0 if state is State.LOADING else self._attempts.count(state)
        return attempts + sum(held.state is state for held in self._slots.held)

    def history(self, alias: str) -> list[dict[str, Any]]:
        return self._ledger.history(alias)

    async def aclose(self) -> None:
        await self._slots.aclose()
        self._ledger.close()

    # --- inside -------------------------------------------------------------------------------------------------------------------

    def _owned(self, alias: str, owner: str) -> Route:
        """The route of an alias, which `owner` may change. One that does not exist yet is anybody's."""
        route = self._routes.get(alias, Route(owner=owner))
        if route.owner == FILE and owner != FILE:
            raise Conflict(f"`{alias}` is declared in the server's adapters file: change it there")
        return route

    def _existing(self, alias: str, owner: str) -> Route:
        if alias not in self._routes:
            raise UnknownAdapter(f"there is no adapter `{alias[:80]}`", param="name")
        return self._owned(alias, owner)

    async def _switch(self, alias: str, revision: Revision | None, flip: Flip) -> None:
        """Load `revision` if it is not, then switch. All or nothing."""
        while True:
            if revision is not None:
                await self._slots.room_for(revision.name, self._wanted)
            async with self._slots.order:
                if revision is not None and revision.name not in self._slots and self._slots.full:
                    continue  # somebody else took the slot
                route = flip.route(self._owned(alias, flip.owner))
                try:
                    if revision is not None:
                        await self._slots.load(revision)
                    await self._write_down(alias, route, revision, flip)
                    self._routes[alias] = route
                    if revision is not None:
                        self._slots.open(revision.name)
                finally:
                    self._retire_unneeded(alias)
                    await self._slots.look_again()
                return

    async def _write_down(self, alias: str, route: Route, revision: Revision | None, flip: Flip) -> None:
        known = self._known if revision is None else {**self._known, revision.name: revision}
        kept = {name: known[name] for name in route.revisions()}
        await asyncio.to_thread(self._ledger.save, alias, route, kept.values(), action=flip.action, why=flip.why)
        self._known = {name: other for name, other in self._known.items() if other.alias != alias} | kept

    def _wanted(self) -> set[str]:
        """Revisions that aliases send requests to. A previous one only waits for a rollback."""
        return {name for route in self._routes.values() for name in (route.current, route.canary) if name is not None}

    def _retire_unneeded(self, alias: str) -> None:
        needed = self._routes.get(alias, Route()).revisions()
        for held in self._slots.held:
            if held.revision.alias == alias and held.revision.name not in needed and held.state is not State.DRAINING:
                self._slots.retire(held)


def revision_of(alias: str, source: str, admitted: Admitted) -> Revision:
    """What is remembered of an adapter that was admitted."""
    special = admitted.activated or admitted.fallback is not None
    activation = {"activated": admitted.activated, "fallback": admitted.fallback} if special else None
    return Revision(alias, admitted.sha256, source, admitted.manifest, admitted.calibration, activation)
