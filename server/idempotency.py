"""`Idempotency-Key`: a retry of a request joins the first while it runs, and gets its stored answer later. Knows no loop.

What is recorded is what the job sends, so that a stream is told again from its start, then live. A keyed job belongs to its key and not
to a connection: when its last listener leaves it goes on for a while, since the retry is on its way. Only what ended well is kept, for a
bounded time, in a bounded number and of a bounded size; after a failure the same key starts anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from redraft.errors import BadRequest, RedraftError
from server.stream import Job, Send

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
LINGER_S = 30.0
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class KeyReused(RedraftError):
    """The key came with another request before."""

    status = 422
    type = "idempotency_error"


@dataclass(frozen=True, slots=True)
class Asked:
    """A keyed request: whose key it is, which, and what was asked with it."""

    owner: str
    key: str
    fingerprint: str


def asked(request: Request, body: object) -> Asked | None:
    """None without the header. `body` is the request as its caller meant it, in plain JSON values."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise BadRequest(f"`{HEADER}` must be 1 to 255 visible ASCII characters", param=HEADER)
    meant = json.dumps([request.url.path, body], sort_keys=True)
    return Asked(_digest(request.headers.get("authorization", "")), key, _digest(meant))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Recording:
    """What a job has sent so far. It is the job's `Send`; `play` tells it to one listener, from the start."""

    def __init__(self, fingerprint: str, on_abandoned: Callable[[], None]) -> None:
        self.fingerprint = fingerprint
        self.size = 0
        self.ended_at: float | None = None
        self._items: list[str] = []
        self._opened = False
        self._changed = asyncio.Event()
        self._listeners = 0
        self._linger: asyncio.TimerHandle | None = None
        self._on_abandoned = on_abandoned
        self._task: asyncio.Task[None] | None = None

    def __call__(self, item: str) -> None:
        self._items.append(item)
        self.size += len(item)
        self._tell()

    def open(self) -> None:
        self._opened = True
        self._tell()

    def start(self, work: Awaitable[None], on_end: Callable[[bool], None]) -> None:
        """Run the job; `on_end` learns whether it ended well."""

        async def run() -> None:
            await work

        def ended(task: asyncio.Task[None]) -> None:
            failed = task.cancelled() or task.exception() is not None
            self.ended_at = time.monotonic()
            self._tell()
            on_end(not failed)

        self._task = asyncio.create_task(run())
        self._task.add_done_callback(ended)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def play(self, send: Send) -> None:
        """Send all that was sent, then what comes. Raises what the job raised."""
        assert self._task is not None
        self._listeners += 1
        if self._linger is not None:
            self._linger.cancel()
        told = 0
        try:
            while True:
                changed = self._changed
                for item in self._items[told:]:
                    send(item)
                told = len(self._items)
                if self._opened:
                    send.open()
                if self.ended_at is not None:
                    break
                await changed.wait()
        finally:
            self._listeners -= 1
            if not self._listeners and self.ended_at is None:
                self._linger = asyncio.get_running_loop().call_later(LINGER_S, self._on_abandoned)
        self._task.result()


class Replays:
    """Recordings by owner and key. `keep_s`, `keys` and `max_bytes` bound what is kept of jobs that have ended."""

    def __init__(self, *, keep_s: float, keys: int, max_bytes: int) -> None:
        self._keep_s, self._keys, self._max_bytes = keep_s, keys, max_bytes
        self._kept: OrderedDict[tuple[str, str], Recording] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Characters of all recordings."""
        return sum(recording.size for recording in self._kept.values())

    def join(self, request: Asked, job: Job) -> tuple[Job, bool]:
        """What plays this request's recording, and whether it had begun before. `job` is started when it had not."""
        self._forget_old()
        place = (request.owner, request.key)
        found = self._kept.get(place)
        if found is not None:
            if found.fingerprint != request.fingerprint:
                raise KeyReused(f"this `{HEADER}` came with another request before: choose a new one", param=HEADER)
            return found.play, True

        def drop() -> None:
            if self._kept.get(place) is recording:
                del self._kept[place]

        def abandon() -> None:
            drop()
            recording.cancel()

        def ended(well: bool) -> None:
            if not well:
                drop()
            self._forget_old()

        recording = Recording(request.fingerprint, abandon)
        self._kept[place] = recording
        recording.start(job(recording), ended)
        return recording.play, False

    def _forget_old(self) -> None:
        """Those that ended, the oldest first: what has had its time, then whatever is too much."""
        now, size = time.monotonic(), self.size
        for place, recording in list(self._kept.items()):
            if recording.ended_at is None:
                continue
            over = len(self._kept) > self._keys or size > self._max_bytes
            if over or now - recording.ended_at >= self._keep_s:
                size -= recording.size
                del self._kept[place]
