"""Reads problems from JSONL, CSV and Parquet files. A row that cannot be used is an error that names file, line and field."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from evalsuite.tasks.types import Problem
from redraft.errors import BadRequest

REFERENCE = "reference"
SUFFIXES = (".jsonl", ".csv", ".parquet")

Raw = tuple[int, Mapping[str, Any] | str]
"""A row under its number in the source; a string says why it could not be read."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of the columns to read."""

    problem: str = "problem"
    answer: str = "answer"
    id: str = "id"
    solution: str = "solution"
    reference: str | None = None
    """For text metrics: a text or a list of texts. Where a row has no `REFERENCE`, its answer stands for it. None reads none."""


class BadRow(BadRequest):
    """A row that is no problem with an answer."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The usable problems of a source, and what was wrong with the others."""

    problems: tuple[Problem, ...]
    bad: tuple[str, ...]


def read(path: Path, fields: Fields, *, allow_bad_rows: bool = False) -> Rows:
    """All problems of a file. Without `allow_bad_rows` the first bad row raises `BadRow`."""
    if not path.is_file():
        raise BadRequest(f"{path}: no such file", param="task")
    return collect(raw_rows(path), str(path), path.stem, fields, allow_bad_rows=allow_bad_rows)


def raw_rows(path: Path) -> Iterator[Raw]:
    """The rows of a file as they stand in it."""
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    if path.suffix not in readers:
        raise BadRequest(f"{path}: expected a {', '.join(SUFFIXES)} file, found {path.suffix or 'no suffix'!r}", param="task")
    return readers[path.suffix](path)


def collect(rows: Iterator[Raw], source: str, stem: str, fields: Fields, *, allow_bad_rows: bool) -> Rows:
    """Turn numbered raw rows into problems."""
    problems: list[Problem] = []
    bad: list[str] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        try:
            problem = _problem(row, f"{source}:{line}", f"{stem}/{len(problems) + len(bad)}", fields)
            if problem.id in seen:
                raise BadRow(f"{source}:{line}: field {fields.id!r}: {problem.id!r} was used in line {seen[problem.id]} already")
        except BadRow as error:
            if not allow_bad_rows:
                raise
            bad.append(error.message)
            continue
        seen[problem.id] = line
        problems.append(problem)
    if not problems:
        raise BadRequest(f"{source}: no usable row ({len(bad)} bad)" if bad else f"{source}: no row in it", param="task")
    return Rows(tuple(problems), tuple(bad))


def _problem(row: Mapping[str, Any] | str, where: str, default_id: str, fields: Fields) -> Problem:
    if isinstance(row, str):
        raise BadRow(f"{where}: {row}")
    problem = _text(row, fields.problem, where)
    references = _references(row, fields, where)
    answer = "" if references and row.get(fields.answer) is None else _text(row, fields.answer, where)
    given_id = row.get(fields.id)
    solution = row.get(fields.solution)
    return Problem(
        id=default_id if given_id is None or given_id == "" else str(given_id),
        problem=problem,
        answer=answer,
        solution=solution if isinstance(solution, str) and solution else None,
        references=references,
    )


def _references(row: Mapping[str, Any], fields: Fields, where: str) -> tuple[str, ...]:
    """The row's references; none where its answer is the reference."""
    name = fields.reference
    if name is None:
        return ()
    value = row.get(name)
    if value is None and name == REFERENCE:
        if row.get(fields.answer) is None:
            raise BadRow(f"{where}: no reference: neither field {name!r} nor {fields.answer!r} is there (--reference-field names another)")
        return ()
    if not isinstance(value, list):
        return (_text(row, name, where),)
    if not value:
        raise BadRow(f"{where}: field {name!r} is an empty list")
    return tuple(_text({f"{name}[{i}]": text}, f"{name}[{i}]", where) for i, text in enumerate(value))


def _text(row: Mapping[str, Any], field: str, where: str) -> str:
    if field not in row:
        raise BadRow(f"{where}: field {field!r} is missing; the row has {', '.join(sorted(map(str, row))) or 'no fields'}")
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow(f"{where}: field {field!r}: expected text or a number, found {type(value).__name__}")
    text = str(value).strip()
    if not text:
        raise BadRow(f"{where}: field {field!r} is empty")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadRow(f"{where}: field {field!r} holds half a character (a lone surrogate)")
    return text


def _jsonl(path: Path) -> Iterator[Raw]:
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            if raw.strip():
                yield number, _json_row(raw)


def _json_row(raw: bytes) -> Mapping[str, Any] | str:
    try:
        row = json.loads(raw)
    except UnicodeDecodeError:
        return "not UTF-8"
    except json.JSONDecodeError as error:
        return f"not JSON ({error.msg} at column {error.colno})"
    except (ValueError, RecursionError) as error:
        return f"not JSON that can be read ({error})"
    return row if isinstance(row, dict) else f"expected a JSON object, found {type(row).__name__}"


def _csv(path: Path) -> Iterator[Raw]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        for row in reader:
            extra = row.pop(None, None)
            if extra is not None:
                yield reader.line_num, f"{len(extra)} more columns than the header names"
            else:
                yield reader.line_num, {name: value for name, value in row.items() if value is not None}


def _parquet(path: Path) -> Iterator[Raw]:
    try:
        arrow, arrow_parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise BadRequest(f"{path}: a .parquet file needs `pip install pyarrow`", param="task") from error
    number = 0
    try:
        for batch in arrow_parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (arrow.ArrowException, OSError) as error:
        raise BadRequest(f"{path}: not a Parquet file that can be read ({error})", param="task") from error
