"""Rows from wherever they lie: JSON Lines, a JSON array, Parquet, the hub. Knows no format of rows, only where each one stands.

A row's place is `file:line` where rows are lines, else `file: row N`, counted from 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from redraft import records
from redraft.errors import BadRequest
from redraft.records import Record
from trainer.data import hub
from trainer.data.hub import HubSet
from trainer.errors import BadConfig, BadRow

Place = Path | HubSet
SUFFIXES = (".jsonl", ".json", ".parquet")


def place(given: str | Path) -> Place:
    """The file, or the data set of the hub, that a person named."""
    if str(given).startswith(hub.PREFIX):
        return hub.parse(str(given))
    path = Path(given)
    if not path.is_file():
        raise BadConfig(f"{path}: no such file; expected {', '.join(SUFFIXES)} or hub:OWNER/NAME?revision=SHA", param="data")
    return path


def read(where: Place) -> Iterator[tuple[str, Record]]:
    """`(place, row)` for every row in order."""
    if isinstance(where, HubSet):
        yield from _counted(where, hub.rows(where))
    elif where.suffix == ".parquet":
        yield from _counted(where, _parquet(where))
    elif where.suffix == ".json" and _is_array(where):
        yield from _counted(where, _array(where))
    elif where.suffix in SUFFIXES:
        for number, record in records.read(where):
            yield f"{where}:{number}", record
    else:
        raise BadConfig(f"{where}: expected a file {', '.join(SUFFIXES)}, found {where.suffix or 'no suffix'!r}", param="data")


def identity(where: Place) -> str:
    """The hash of a file's bytes, or of all rows of a data set."""
    digest = hashlib.sha256()
    if isinstance(where, HubSet):
        for _, record in read(where):
            digest.update(json.dumps(record, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n")
        return digest.hexdigest()
    with where.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _counted(where: Place, rows: Iterator[Any]) -> Iterator[tuple[str, Record]]:
    for number, row in enumerate(rows, start=1):
        at = f"{where}: row {number}"
        if not isinstance(row, dict):
            raise BadRow(at, "row", f"expected an object, found {type(row).__name__}")
        yield at, row


def _is_array(path: Path) -> bool:
    """Whether a `.json` file is one array; it may hold JSON Lines too."""
    with path.open(encoding="utf-8") as file:
        while character := file.read(1):
            if not character.isspace():
                return character == "["
    return False


def _array(path: Path) -> Iterator[Any]:
    try:
        rows: list[Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BadRequest(f"{path}:{error.lineno}: not JSON ({error.msg} at column {error.colno})") from error
    yield from rows


def _parquet(path: Path) -> Iterator[Record]:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise BadRequest(f"{path}: Parquet needs `pip install pyarrow`", param="data") from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except arrow.ArrowInvalid as error:
        raise BadRequest(f"{path}: not Parquet: {error}") from error
