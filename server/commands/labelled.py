"""Responses whose truth is known, as `redraft calibrate` reads them, and those of them that a loop would ask its critic about."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redraft import prompts, records, vote
from redraft.errors import BadRequest
from redraft.loop import MAX_JUDGED


@dataclass(frozen=True, slots=True)
class Row:
    """One response to judge."""

    problem: str
    response: str
    correct: bool
    votes: int = 1
    """How many responses to the problem give its answer."""
    truncated: bool = False
    """A loop reads no answer in it."""


def contested(rows: Sequence[Row]) -> list[Row]:
    """What a loop's critic would be asked: where the responses to a problem disagree, the first response of each answer, the commonest
    answers first, at most as many as a loop lets be judged in a round. A truncated response has no answer. Empty where no problem has
    responses that disagree."""
    problems: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        problems[row.problem].append(row)
    return [row for found in problems.values() for row in asyncio.run(_candidates(found))]


async def _candidates(rows: Sequence[Row]) -> list[Row]:
    from evalsuite import checker

    async def equal(gold: str, pred: str) -> bool:
        return checker.is_equal(gold, pred)

    groups = await vote.cluster([None if row.truncated else checker.extract(row.response) for row in rows], equal)
    if len(groups) < 2:
        return []
    groups.sort(key=lambda group: (-len(group), group[0]))
    return [replace(rows[group[0]], votes=len(group)) for group in groups[:MAX_JUDGED]]


def read(path: Path) -> Iterator[Row]:
    """The rows of a file. Raises BadRequest that names file, line and field."""
    if not path.is_file():
        raise BadRequest(f"--data {path}: no such file", param="data")
    for number, record in records.read(path):
        where = f"{path}:{number}"
        for field in ("problem", "response"):
            if not isinstance(record.get(field), str) or not record[field]:
                raise BadRequest(f"{where}: field `{field}`: expected text, found {record.get(field)!r}", param=field)
        yield Row(record["problem"], record["response"], _truth(record, where), truncated=record.get("finish_reason") == "length")


def _truth(record: dict[str, Any], where: str) -> bool:
    if "correct" in record:
        if not isinstance(record["correct"], bool):
            raise BadRequest(f"{where}: field `correct`: expected true or false, found {record['correct']!r}", param="correct")
        return bool(record["correct"])
    if record.get("label") is not None:
        if record["label"] not in (prompts.RIGHT, prompts.WRONG):
            raise BadRequest(f"{where}: field `label`: expected right or wrong, found {record['label']!r}", param="label")
        return bool(record["label"] == prompts.RIGHT)
    gold = record.get("gold", record.get("answer"))
    if gold is None:
        raise BadRequest(f"{where}: expected one of the fields `correct`, `label` and `gold`", param="correct")
    from evalsuite import checker

    return checker.is_equal(str(gold), record["response"])
