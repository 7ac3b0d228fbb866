"""Append-only JSONL: one record a line, each on the disk before the next is asked for. Knows nothing of what the records mean."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redraft.errors import BadRequest

Record = dict[str, Any]


def read(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield `(line number, record)`. A line that is no JSON object raises `BadRequest` naming file and line."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise BadRequest(f"{path}:{number}: not JSON ({error.msg} at column {error.colno})") from error
            if not isinstance(record, dict):
                raise BadRequest(f"{path}:{number}: expected a JSON object, found {type(record).__name__}")
            yield number, record


class Log:
    """A JSONL file that grows by whole records and survives being killed at any moment.

    A line that was cut off by a kill (the last one, without its newline) is removed when the log is opened again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._drop_torn_line()

    def _drop_torn_line(self) -> None:
        size = self.path.stat().st_size
        if size == 0:
            return
        with self.path.open("r+b") as whole:
            data = whole.read()
            end = data.rfind(b"\n") + 1
            if end != size:
                whole.truncate(end)

    def append(self, record: Record) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.sync()
        self._file.close()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def write_atomic(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
