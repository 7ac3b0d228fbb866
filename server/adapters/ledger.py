"""What must survive a restart, in one SQLite file: which revision each alias points at, where it came from, and why it was switched.

Every change is one transaction: a process killed at any moment leaves the state before it or the state after it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.adapters.errors import StateFailed
from server.adapters.names import revision_name

SCHEMA = """
CREATE TABLE IF NOT EXISTS aliases (
    name TEXT PRIMARY KEY, current TEXT, previous TEXT, canary TEXT, percent REAL NOT NULL, owner TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS revisions (
    name TEXT PRIMARY KEY, alias TEXT NOT NULL, sha256 TEXT NOT NULL, source TEXT NOT NULL, manifest TEXT, calibration TEXT, activation TEXT
);
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY, alias TEXT NOT NULL, at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    action TEXT NOT NULL, revision TEXT, why TEXT
);
CREATE INDEX IF NOT EXISTS history_of ON history (alias, id);
"""
KEPT = 50
"""Entries of an alias' history."""
BUSY_S = 10.0


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable adapter under one alias."""

    alias: str
    sha256: str
    source: str
    manifest: dict[str, Any] | None = None
    calibration: dict[str, float] | None = None
    activation: dict[str, Any] | None = None
    """Of a LoRA that is activated, or stands in for one: `activated`, and as `fallback` the reason why it stands in."""

    @property
    def name(self) -> str:
        return revision_name(self.alias, self.sha256)


@dataclass(frozen=True, slots=True)
class Route:
    """Where an alias points. The fields are names of revisions."""

    current: str | None = None
    previous: str | None = None
    canary: str | None = None
    percent: float = 0.0
    """Share of conversations that the canary answers."""
    owner: str = "http"
    """`http`, or `file` for what the declared file names."""

    def revisions(self) -> list[str]:
        """Those that must be loaded, the most wanted first."""
        return [name for name in (self.current, self.canary, self.previous) if name is not None]


class Ledger:
    """Usable from any thread. Raises StateFailed."""

    def __init__(self, path: Path) -> None:
        self._mutex = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StateFailed(f"{path}: {error}") from error
        with self._use() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(SCHEMA)
            if "activation" not in {row[1] for row in db.execute("PRAGMA table_info(revisions)")}:  # a file of an earlier version
                db.execute("ALTER TABLE revisions ADD COLUMN activation TEXT")

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._mutex:
            try:
                yield self._db
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.rollback()
                raise StateFailed(f"the adapters' state cannot be read or written: {error}") from error

    def close(self) -> None:
        with self._mutex:
            self._db.close()

    def load(self) -> tuple[dict[str, Route], dict[str, Revision]]:
        """Routes by alias and revisions by name."""
        with self._use() as db:
            routes = {row[0]: Route(*row[1:]) for row in db.execute("SELECT name, current, previous, canary, percent, owner FROM aliases")}
            rows = db.execute("SELECT alias, sha256, source, manifest, calibration, activation FROM revisions").fetchall()
        found = [Revision(*row[:3], *(None if text is None else json.loads(text) for text in row[3:])) for row in rows]
        return routes, {revision.name: revision for revision in found}

    def save(
        self, alias: str, route: Route | None, revisions: Iterable[Revision], *, action: str, why: Mapping[str, Any] | None = None
    ) -> None:
        """Point `alias` (None: forget it), keep exactly these revisions of it, and say in its history what was done."""
        with self._use() as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM aliases WHERE name = ?", (alias,))
            db.execute("DELETE FROM revisions WHERE alias = ?", (alias,))
            if route is not None:
                fields = (alias, route.current, route.previous, route.canary, route.percent, route.owner)
                db.execute("INSERT INTO aliases VALUES (?, ?, ?, ?, ?, ?)", fields)
                for revision in revisions:
                    told_of = (revision.manifest, revision.calibration, revision.activation)
                    texts = [None if told is None else json.dumps(told) for told in told_of]
                    row = (revision.name, alias, revision.sha256, revision.source, *texts)
                    db.execute("INSERT OR REPLACE INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            said = (alias, action, None if route is None else route.canary or route.current, None if why is None else json.dumps(why))
            db.execute("INSERT INTO history (alias, action, revision, why) VALUES (?, ?, ?, ?)", said)
            oldest = "SELECT id FROM history WHERE alias = ? ORDER BY id DESC LIMIT -1 OFFSET ?"
            db.execute(f"DELETE FROM history WHERE id IN ({oldest})", (alias, KEPT))  # noqa: S608 - a constant
            db.execute("COMMIT")

    def history(self, alias: str) -> list[dict[str, Any]]:
        """What was done to an alias, the latest first."""
        with self._use() as db:
            rows = db.execute("SELECT at, action, revision, why FROM history WHERE alias = ? ORDER BY id DESC", (alias,)).fetchall()
        return [{"at": at, "action": act, "revision": rev, "why": json.loads(why) if why else None} for at, act, rev, why in rows]
