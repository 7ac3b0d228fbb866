"""Keys in one SQLite file: written by `redraft keys`, read by running servers. Holds hashes, never a secret."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from redraft import home
from redraft.errors import RedraftError
from server.keys.key import Key, KeyLimits, Scope

FILE = "keys.sqlite"
VERSION = 1
HEADER_BYTES = 100
"""The file's header, with the counter that SQLite raises at every commit."""
TABLE = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL UNIQUE, scopes TEXT NOT NULL, models TEXT NOT NULL,
    requests INTEGER, tokens INTEGER, parallel INTEGER, created REAL NOT NULL, expires REAL, revoked REAL
) STRICT
"""
COLUMNS = "id, name, digest, scopes, models, requests, tokens, parallel, created, expires, revoked"


class KeyFileBroken(RedraftError):
    """The file is there and cannot be used."""

    type = "key_file_broken"


class UnknownKey(RedraftError):
    status = 404
    type = "not_found_error"


def default_file() -> Path:
    return home.home() / FILE


class KeyFile:
    """Every method opens the file anew: a server and several commands may work on it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mark(self) -> tuple[int, bytes] | None:
        """Changes with every commit and when the file is replaced; None when there is no file."""
        try:
            with self.path.open("rb") as file:
                return self.path.stat().st_ino, file.read(HEADER_BYTES)
        except FileNotFoundError:
            return None

    def read(self) -> list[Key]:
        """All keys, revoked and expired ones too, the oldest first. Raises KeyFileBroken."""
        if not self.path.exists():
            return []
        with self._open(f"{self.path.absolute().as_uri()}?mode=ro") as database:
            return [_key(row) for row in database.execute(f"SELECT {COLUMNS} FROM keys ORDER BY created, id")]  # noqa: S608 - a constant

    def add(self, key: Key) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        with self._open(f"{self.path.absolute().as_uri()}?mode=rw") as database:
            database.execute(TABLE)
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute(f"INSERT INTO keys ({COLUMNS}) VALUES ({', '.join('?' * 11)})", _row(key))  # noqa: S608 - a constant

    def revoke(self, identity: str) -> Key:
        """The key, revoked now or before. Raises UnknownKey."""
        known = {key.id for key in self.read()}
        if identity not in known:
            raise UnknownKey(f"there is no key {identity[:40]!r} in {self.path}; `redraft keys ls` lists them", param="id")
        with self._open(f"{self.path.absolute().as_uri()}?mode=rw") as database:
            database.execute("UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?", (time.time(), identity))
        return next(key for key in self.read() if key.id == identity)

    @contextmanager
    def _open(self, uri: str) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=5)) as database, database:
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if version not in {0, VERSION}:
                    raise KeyFileBroken(f"{self.path}: keys of version {version}, this program knows version {VERSION}")
                yield database
        except (sqlite3.Error, ValueError) as error:
            raise KeyFileBroken(f"{self.path}: {error}") from error


def _row(key: Key) -> tuple[object, ...]:
    scopes, models = json.dumps(sorted(key.scopes)), json.dumps(sorted(key.models))
    limits = (key.limits.requests, key.limits.tokens, key.limits.parallel)
    return (key.id, key.name, key.digest, scopes, models, *limits, key.created, key.expires, key.revoked)


def _key(row: tuple[str, str, bytes, str, str, int | None, int | None, int | None, float, float | None, float | None]) -> Key:
    identity, name, hashed, scopes, models, requests, tokens, parallel, created, expires, revoked = row
    held = frozenset(Scope(scope) for scope in json.loads(scopes))
    limits = KeyLimits(requests, tokens, parallel)
    return Key(identity, name, hashed, held, limits, frozenset(json.loads(models)), created, expires, revoked)
