"""The keys that a running server knows: those of its settings and those of the key file, which it follows. Knows no HTTP."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from server.keys import key
from server.keys.key import Key
from server.keys.meter import Meter
from server.keys.store import KeyFile, KeyFileBroken

LOOK_S = 1.0
"""Seconds between two looks at the file."""
log = logging.getLogger("redraft.keys")


class Keyring:
    """`closed` servers ask for a key even when none is known any more; others are open for as long as nobody has made one."""

    def __init__(self, fixed: Sequence[str], file: Path, *, closed: bool = False) -> None:
        self._fixed = [key.fixed(secret) for secret in dict.fromkeys(fixed)]
        self._file = KeyFile(file)
        self._closed = closed
        self._meters: dict[str, Meter] = {}
        self._next_look = 0.0
        self._mark = self._file.mark()
        self._kept = {kept.id: kept for kept in self._file.read()}

    @property
    def has_keys(self) -> bool:
        """Whether any key is known, a revoked one too."""
        return bool(self._fixed or self._kept)

    @property
    def is_asked(self) -> bool:
        """Whether a request needs a key. A file whose keys are all revoked still asks for one."""
        self._look()
        return self._closed or self.has_keys

    @property
    def is_shared(self) -> bool:
        """Whether more than one key opens this server, so that their requests must not learn from each other's."""
        return len(self._fixed) + sum(kept.revoked is None for kept in self._kept.values()) > 1

    def find(self, secret: str) -> Key | None:
        """The key of this secret, also a revoked or expired one. Every comparison takes the same time, whatever was sent."""
        hashed = key.digest(secret)
        found = None
        for known in self._fixed:
            found = known if hmac.compare_digest(hashed, known.digest) else found
        kept = self._kept.get(key.id_of(secret) or "")
        if kept is not None and hmac.compare_digest(hashed, kept.digest):
            found = kept
        return found

    def meter(self, of: Key) -> Meter:
        """What this key has asked for so far, of this process."""
        if of.id not in self._meters:
            self._meters[of.id] = Meter(of.limits)
        return self._meters[of.id]

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        mark = self._file.mark()
        if mark == self._mark:
            return
        try:
            self._kept = {kept.id: kept for kept in self._file.read()}
        except KeyFileBroken as error:
            log.error("%s; the keys that were read before go on to hold", error.message)
            return
        self._mark = mark
