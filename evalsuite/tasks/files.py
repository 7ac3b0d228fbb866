"""Reads problems from JSONL and CSV files. A row that cannot be used is an error that names file, line and field."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.tasks.types import Problem
from redraft.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of the columns to read."""

    problem: str = "problem"
    answer: str = "answer"
    id: str = "id"
    solution: str = "solution"


class BadRow(BadRequest):
    """A row that is no problem with an answer."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The usable problems of a source, and what was wrong with the others."""

    problems: tuple[Problem, ...]
    bad: tuple[str, ...]


def read(path: Path, fields: Fields, *, allow_bad_rows: bool = False) -> Rows:
    """All problems of a `.jsonl` or `.csv` file. Without `allow_bad_rows` the first bad row raises `BadRow`."""
    if not path.is_file():
        raise BadRequest(f"{path}: no such file", param="task")
    readers = {".jsonl": _jsonl, ".csv": _csv}
    if path.suffix not in readers:
        raise BadRequest(f"{path}: expected a .jsonl or .csv file, found {path.suffix or 'no suffix'!r}", param="task")
    return collect(readers[path.suffix](path), str(path), path.stem, fields, allow_bad_rows=allow_bad_rows)


def collect(rows: Iterator[tuple[int, Mapping[str, Any] | str]], source: str, stem: str, fields: Fields, *, allow_bad_rows: bool) -> Rows:
    """Turn numbered raw rows into problems. A raw row that is a string is the reason why it could not be read."""
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
        raise BadRequest(f"{source}: no usable row ({len(bad)} bad)", param="task")
    return Rows(tuple(problems), tuple(bad))


def _problem(row: Mapping[str, Any] | str, where: str, default_id: str, fields: Fields) -> Problem:
    if isinstance(row, str):
        raise BadRow(f"{where}: {row}")
    problem = _text(row, fields.problem, where)
    answer = _text(row, fields.answer, where)
    given_id = row.get(fields.id)
    solution = row.get(fields.solution)
    return Problem(
        id=default_id if given_id is None or given_id == "" else str(given_id),
        problem=problem,
        answer=answer,
        solution=solution if isinstance(solution, str) and solution else None,
    )


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


def _jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
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


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        for row in reader:
            extra = row.pop(None, None)
            if extra is not None:
                yield reader.line_num, f"{len(extra)} more columns than the header names"
            else:
                yield reader.line_num, {name: value for name, value in row.items() if value is not None}
