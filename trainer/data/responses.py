"""Responses to judge, from a file or the hub: what `trainer sample` wrote, published CFT rows, or rows with `problem` and `response`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from redraft import prompts
from trainer.data import tables
from trainer.data.rows import Row, published
from trainer.data.tables import Place
from trainer.errors import BadRow


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a model to a problem; `label` is `right`, `wrong`, or None where nobody said."""

    id: str
    problem: str
    response: str
    gold: str | None
    solution: str | None
    label: str | None
    where: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A response that was never given."""

    id: str
    reason: str


def read(source: Place) -> Iterator[Response | Failed]:
    """All rows in order; the same id twice is an error."""
    seen: set[str] = set()
    for where, record in tables.read(source):
        row = Row({**record, **published(record)}, where)
        found = _response(row) if "error" not in record else Failed(row.text("id"), str(record["error"]))
        if found.id in seen:
            raise BadRow(row.where, "id", f"{found.id!r} stands in an earlier row too")
        seen.add(found.id)
        yield found


def _response(row: Row) -> Response:
    problem, response = row.text("problem"), row.text("response")
    label = row.optional("label") or None
    if label not in (None, prompts.RIGHT, prompts.WRONG):
        raise row.bad("label", f"expected {prompts.RIGHT!r} or {prompts.WRONG!r}, found {label!r}")
    gold = row.record.get("gold", row.record.get("answer"))
    return Response(
        id=row.optional("id") or content_id(problem, response),
        problem=problem,
        response=response,
        gold=None if gold is None else str(gold),
        solution=row.optional("solution") or None,
        label=label,
        where=row.where,
    )


def content_id(*parts: str) -> str:
    """A name for a row that brings none."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
