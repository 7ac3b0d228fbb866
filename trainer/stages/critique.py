"""The `critique` stage: responses in, critiques out, one record each. Where the teacher cannot judge, the record says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from redraft import records
from trainer.checking import Checker
from trainer.data import tables
from trainer.data.responses import Failed, Response, read
from trainer.data.tables import Place
from trainer.origin import digest
from trainer.runs import claim_output, done
from trainer.teachers.judge import Key
from trainer.teachers.symbolic import NAME, VERSION, Approach, CannotJudge, SymbolicTeacher
from trainer.teachers.wordings import Wording

CRITIQUE, CANNOT_JUDGE = "critique", "cannot_judge"


def critique(
    source: Place,
    output: Path,
    checker: Checker,
    *,
    seed: int,
    samples: int,
    wording: Wording = Wording.VARIED,
    approach: Approach = Approach.STEPWISE,
    console: Console,
) -> Counter[str]:
    """Write `samples` critiques of every response; goes on where an earlier run of the same was cut off. Counts the outcomes."""
    claim_output(output, digest(["critique", NAME, VERSION, seed, samples, wording.value, approach.value, tables.identity(source)]))
    written = done([output])
    teacher = SymbolicTeacher(checker, seed, wording.wordings, approach)
    with records.Log(output) as log:
        for response in track(read(source), "critiques", console=console, transient=True):
            for record in _of(teacher, response, samples):
                if record["id"] not in written:
                    log.append(record)
    return Counter(record["outcome"] for _, record in records.read(output))


def _of(teacher: SymbolicTeacher, response: Response | Failed, samples: int) -> Iterator[dict[str, Any]]:
    if isinstance(response, Failed):
        yield {"id": f"{response.id}/0", "outcome": CANNOT_JUDGE, "reason": f"there is no response: {response.reason}"}
        return
    common = {"problem": response.problem, "response": response.response, "gold": response.gold, "label": response.label}
    texts: set[str] = set()
    for sample in range(samples):
        given = teacher.critique(response.problem, response.response, Key(response.gold, response.solution), sample)
        identity = {"id": f"{response.id}/{sample}", "response_id": response.id}
        if isinstance(given, CannotJudge):
            yield {**identity, "outcome": CANNOT_JUDGE, "reason": given.reason, **common}
            return
        if given.body not in texts:
            texts.add(given.body)
            judged = {"critique": given.body, "conclusion": given.conclusion, "finding": given.finding.value, "answer": given.answer}
            yield {**identity, "outcome": CRITIQUE, **common, **judged, "teacher": f"{NAME}-{VERSION}"}
