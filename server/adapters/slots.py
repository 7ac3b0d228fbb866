"""The revisions an engine holds: loaded into a bounded number of slots, leased to requests, unloaded when they are drained.

Knows nothing of aliases. A retired revision gets no new requests; it is unloaded when its leases are back and the engine has none of its
requests left, or serves again when it is loaded again before that.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from redraft.errors import RedraftError
from server.adapters.errors import Check, Conflict, Refused
from server.adapters.ledger import Revision
from server.adapters.store import Store

POLL_S = 0.05
"""How often a draining revision that the engine still works for is looked at."""
LOOK_AGAIN_S = 0.5
"""How often a change that waits for a slot looks again for one that could be freed."""


class AdapterHost(Protocol):
    """An engine that adapters are loaded into under a name."""

    @property
    def slots(self) -> int:
        """How many revisions it can hold at once without reading one from disk again."""
        ...

    async def load(self, name: str, path: Path) -> None:
        """Raises Refused when the engine cannot load it."""
        ...

    async def unload(self, name: str) -> None: ...

    def in_flight(self, name: str) -> int:
        """Requests of this revision that the engine has not finished."""
        ...


class State(StrEnum):
    ADMITTING = "admitting"
    LOADING = "loading"
    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"
    UNLOADED = "unloaded"
    """Kept as a copy, for a rollback; not in the engine."""


@dataclass(slots=True)
class Held:
    """A revision in the engine."""

    revision: Revision
    state: State
    leases: int = 0
    used: int = 0
    """Grows with each use: the smallest was not used for longest."""


class Lease:
    """A request's hold on one revision."""

    def __init__(self, slots: Slots, held: Held) -> None:
        self._slots = slots
        self._held: Held | None = held
        self.name = held.revision.name

    def release(self) -> None:
        """Give it back. A second time is nothing."""
        held, self._held = self._held, None
        if held is not None:
            self._slots.given_back(held)


class Slots:
    """`wait_s` is how long a load waits for a slot. `order` is held around everything that loads, unloads or switches."""

    def __init__(self, host: AdapterHost, store: Store, *, wait_s: float) -> None:
        self.order = asyncio.Lock()
        self._host = host
        self._store = store
        self._wait_s = wait_s
        self._held: dict[str, Held] = {}
        self._freed = asyncio.Condition()
        self._waiting = 0
        self._clock = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()

    def __contains__(self, name: object) -> bool:
        return name in self._held

    @property
    def held(self) -> list[Held]:
        return list(self._held.values())

    @property
    def full(self) -> bool:
        return len(self._held) >= self._host.slots

    def serves(self, name: str) -> bool:
        held = self._held.get(name)
        return held is not None and held.state is State.SERVING

    def lease(self, name: str) -> Lease:
        """Keep a serving revision loaded until the lease is released."""
        held = self._held[name]
        held.leases += 1
        held.used = next(self._clock)
        return Lease(self, held)

    def given_back(self, held: Held) -> None:
        held.leases -= 1
        if held.leases == 0 and held.state is State.DRAINING:
            self._start_unload(held)

    def in_flight(self, held: Held) -> int:
        return max(held.leases, self._host.in_flight(held.revision.name))

    async def room_for(self, name: str, wanted: Callable[[], set[str]]) -> None:
        """Return when a slot is free, or `name` has one; what is not `wanted` makes room. Raises Conflict when none comes free in time."""
        until = time.monotonic() + self._wait_s
        self._waiting += 1
        try:
            async with self._freed:
                while name not in self._held and self.full:
                    self._make_room(name, wanted())
                    left = until - time.monotonic()
                    if left <= 0:
                        text = f"all {self._host.slots} slots of the engine hold revisions with requests in flight; try again later"
                        raise Conflict(text, retry_after_s=max(1.0, self._wait_s / 4))
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._freed.wait(), min(left, LOOK_AGAIN_S))
        finally:
            self._waiting -= 1

    def _make_room(self, name: str, wanted: set[str]) -> None:
        """Retire what is not wanted, idle and least recently used first, until as many drain as loads wait."""
        leaving = sum(held.state is State.DRAINING for held in self._held.values())
        spare = [held for held in self._held.values() if held.state is State.SERVING and held.revision.name not in wanted]
        spare.sort(key=lambda held: (held.leases > 0, held.used))
        for held in spare[: max(0, self._waiting - leaving)]:
            self.retire(held)
        if all(held.state is State.SERVING for held in self._held.values()):
            slots = f"all {self._host.slots} slots of the engine (--max-cpu-loras) are in use"
            raise Conflict(f"{slots} and `{name[:120]}` needs one more: remove an adapter")

    async def load(self, revision: Revision) -> None:
        """Have the engine hold it (with `order` held, and a slot free). It takes requests from `open` on."""
        if revision.name in self._held:
            return
        held = self._held[revision.name] = Held(revision, State.LOADING, used=next(self._clock))
        loaded = False
        try:
            if not await asyncio.to_thread(self._store.hold, revision.sha256):
                raise Refused(Check.HASH, f"our copy of {revision.name} is lost or broken: load it again from its source")
            await self._host.load(revision.name, self._store.path(revision.sha256))
            loaded = True
        finally:
            if not loaded:
                await self._drop(held)

    def open(self, name: str) -> None:
        """Have a revision that the engine holds take requests, also if it was to drain (with `order` held)."""
        self._held[name].state = State.SERVING

    async def look_again(self) -> None:
        """Tell those that wait for a slot that there may be something to free."""
        async with self._freed:
            self._freed.notify_all()

    def retire(self, held: Held) -> None:
        """No new requests; unload when drained."""
        held.state = State.DRAINING
        if held.leases == 0:
            self._start_unload(held)

    def _start_unload(self, held: Held) -> None:
        task = asyncio.create_task(self._unload(held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _unload(self, held: Held) -> None:
        """Unload a drained revision. Ends without it when the revision is wanted again, or leased (the lease's end comes here again)."""
        name = held.revision.name
        while True:
            async with self.order:
                if self._held.get(name) is not held or held.state is not State.DRAINING or held.leases:
                    return
                if not self._host.in_flight(name):
                    with suppress(RedraftError):  # an engine that is gone holds nothing
                        await self._host.unload(name)
                    await self._drop(held)
                    return
            await asyncio.sleep(POLL_S)

    async def _drop(self, held: Held) -> None:
        del self._held[held.revision.name]
        sha = held.revision.sha256
        if not any(other.revision.sha256 == sha for other in self._held.values()):
            self._store.release(sha)
        await self.look_again()

    async def aclose(self) -> None:
        """Stop waiting for what drains. Nothing is unloaded: the engine ends with the server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
