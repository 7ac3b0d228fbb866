"""`evalsuite grade-check`: try a grader on rows before a run relies on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evalsuite.commands.exits import Exit
from evalsuite.commands.options import ApiKey, AsJson
from evalsuite.graders import Grader, GraderError, Judge, Resources, Sample, grade, load
from redraft import records
from redraft.errors import BadRequest

Outcome = dict[str, Any]


def grade_check(
    grader: Annotated[Path, typer.Argument(help="A grader object in a JSON file; docs/graders.md has the types.")],
    rows: Annotated[Path, typer.Argument(help="A JSONL file: each row is an item, and has an output to grade.")],
    field: Annotated[str, typer.Option(help="The row's field that holds the output.")] = "response",
    base_url: Annotated[str | None, typer.Option(help="The OpenAI-compatible server that score_model graders ask.")] = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Grade the output in each row. A row's `finish_reason` and `output_tokens`, where it has them, belong to the sample.

    Exits with 2 where a row could not be graded.
    """
    form = load(grader)
    if not rows.is_file():
        raise BadRequest(f"{rows}: no such file")
    judge = None if base_url is None else Judge(base_url, api_key)
    try:
        found = [_graded(form, f"{rows}:{number}", record, field, Resources(judge=judge)) for number, record in records.read(rows)]
    finally:
        if judge is not None:
            judge.close()
    _show(found, as_json=as_json)
    if any("error" in outcome for outcome in found):
        raise typer.Exit(Exit.USAGE)


def _graded(form: Grader, where: str, record: records.Record, field: str, resources: Resources) -> Outcome:
    known = {field: str, "finish_reason": str, "output_tokens": int}
    for name, kind in known.items():
        found = record.get(name)
        if not isinstance(found, kind) and (name == field or found is not None):
            raise BadRequest(f"{where}: field `{name}`: expected {kind.__name__}, found {type(found).__name__}", param=name)
    sample = Sample(record[field], record.get("finish_reason"), record.get("output_tokens"))
    try:
        score = grade(form, sample, record, resources)
    except GraderError as error:
        return {"where": where, "error": error.message}
    return {"where": where, "score": score.value, "parts": dict(score.parts)}


def _show(found: list[Outcome], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.writelines(json.dumps(outcome, ensure_ascii=False) + "\n" for outcome in found)
        return
    table = Table("row", "score", "parts", box=None, padding=(0, 2, 0, 0))
    for outcome in found:
        parts = "  ".join(f"{name} {value:.3g}" for name, value in outcome.get("parts", {}).items())
        table.add_row(outcome["where"], f"{outcome['score']:.3g}" if "score" in outcome else "-", outcome.get("error", parts))
    Console().print(table)
    scores = [outcome["score"] for outcome in found if "score" in outcome]
    mean = f"mean {sum(scores) / len(scores):.3f}" if scores else "no scores"
    Console().print(f"{mean} over {len(scores)} of {len(found)} rows", highlight=False)
