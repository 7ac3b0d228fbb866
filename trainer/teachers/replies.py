"""Replies that were paid for, by the hash of what was asked: a run that is repeated pays nothing. Knows not what the replies mean.

One SQLite file; every reply is on the disk before the next one is asked for.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "replies.sqlite"


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a model, and what it cost. Tokens are None where the endpoint did not count them."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


class Replies:
    """The replies in a folder; any number of processes may use it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(folder / FILE, timeout=60.0, isolation_level=None)
        self._file.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL)")

    def __enter__(self) -> Replies:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def get(self, key: str) -> Reply | None:
        found = self._file.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return None if found is None else Reply(**json.loads(found[0]))

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply; the first one that came for a key stays."""
        self._file.execute("INSERT OR IGNORE INTO replies VALUES (?, ?)", (key, json.dumps(asdict(reply), ensure_ascii=False)))
