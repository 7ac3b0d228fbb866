"""The `verify` stage: only critiques that can be trusted are kept, and every rejection is a record with its reason.

Kept is a critique whose conclusion agrees with the checker's label of the response, whose corrected answer equals the gold, in which
every equation that can be checked is true (a false one may be quoted, if it is denied), that is no near duplicate, and whose problem
is in no test set. The report says how noisy the teacher was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from evalsuite.tasks import Task
from redraft import prompts, records
from redraft.prompts import WRONG
from trainer.checking import Checker, label
from trainer.data import tables
from trainer.data.responses import content_id
from trainer.data.rows import Row, published
from trainer.data.tables import Place
from trainer.origin import digest
from trainer.runs import claim_output, done
from trainer.stages.assertions import false_equation, stated_answer
from trainer.stages.consult import UNUSABLE
from trainer.stages.critique import CRITIQUE
from trainer.stages.likeness import NGRAM, NearDuplicates, TestSets
from trainer.stages.noise import Noise

VERSION = 2
DUPLICATE_AT = 0.9


class Reason(StrEnum):
    """Why a critique is not kept."""

    NOT_JUDGED = "not_judged"
    """The teacher could not judge, or could not be asked."""
    UNUSABLE = "unusable"
    """The teacher's reply is no critique."""
    NO_LABEL = "no_label"
    """Neither a label nor a gold answer: nothing to verify it by."""
    NO_GOLD = "no_gold"
    """A label but no gold answer: the corrected answer cannot be verified."""
    CONCLUSION = "conclusion"
    """It calls a right response wrong, or a wrong one right."""
    ANSWER = "answer"
    """The answer that it states is not the gold."""
    NO_ANSWER = "no_answer"
    """It calls a response wrong and states no right answer."""
    EQUATION = "equation"
    """It asserts an equation that is false."""
    DUPLICATE = "duplicate"
    TEST_SET = "test_set"


NOISE = (Reason.UNUSABLE, Reason.CONCLUSION, Reason.ANSWER, Reason.NO_ANSWER, Reason.EQUATION)
"""The reasons that are the teacher's faults; a critique counts for the first that it has."""
UNJUDGED = (Reason.NOT_JUDGED, Reason.NO_LABEL, Reason.NO_GOLD)
"""Of these critiques it is not known whether the teacher was right."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a critique is not kept."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the critiques."""

    kept: int
    conclusions: Counter[str]
    rejected: Counter[str]
    rates: Noise

    @property
    def noise(self) -> float:
        """The share of critiques that the teacher got wrong."""
        return self.rates.rate("all").value or 0.0


class Verifier:
    """Holds what was kept so far: a duplicate can only be told from others."""

    def __init__(self, checker: Checker, test_sets: TestSets, *, allow_unanswered: bool = False) -> None:
        self.checker = checker
        self.test_sets = test_sets
        self.allow_unanswered = allow_unanswered
        self.seen = NearDuplicates(DUPLICATE_AT)

    def truth(self, row: Row) -> str | None:
        """The true label of the response: the checker's, by the row or by its gold."""
        stated, gold, response = row.optional("label"), row.optional("gold"), row.optional("response")
        if stated and stated not in (prompts.RIGHT, prompts.WRONG):
            raise row.bad("label", f"expected {prompts.RIGHT!r} or {prompts.WRONG!r}, found {stated!r}")
        return stated or (label(self.checker, gold, response) if gold and response else None)

    def fault(self, row: Row, truth: str | None) -> Fault | None:
        """Why this critique is not to be kept, or None."""
        outcome = str(row.record.get("outcome", CRITIQUE))
        if outcome != CRITIQUE:
            reason = Reason.UNUSABLE if outcome == UNUSABLE else Reason.NOT_JUDGED
            return Fault(reason, str(row.record.get("reason", outcome)))
        problem, response, body, conclusion = (row.text(field) for field in ("problem", "response", "critique", "conclusion"))
        if truth is None:
            return Fault(Reason.NO_LABEL, "the row has neither a label nor a gold answer")
        if conclusion != truth:
            return Fault(Reason.CONCLUSION, f"it concludes {conclusion}, the checker says {truth}")
        return self._false_answer(row, body, conclusion) or self._asserted(problem, response, body) or self._known(problem, response, body)

    def keep(self, row: Row) -> None:
        """Remember a critique that was kept."""
        self.seen.add(row.text("problem"), str(row.record["id"]), f"{row.text('response')}\n{row.text('critique')}")

    def _false_answer(self, row: Row, body: str, conclusion: str) -> Fault | None:
        gold = row.optional("gold")
        stated = row.optional("answer") or stated_answer(body, self.checker)
        if gold and stated:
            equal = self.checker.is_equal(gold, stated)
            return None if equal else Fault(Reason.ANSWER, f"it states {stated}, the gold is {gold}")
        if conclusion != WRONG or self.allow_unanswered:
            return None
        if not gold:
            return Fault(Reason.NO_GOLD, "the row has no gold answer to compare the corrected answer with")
        return Fault(Reason.NO_ANSWER, "it calls the response wrong and states no right answer")

    def _asserted(self, problem: str, response: str, body: str) -> Fault | None:
        false = false_equation(problem, response, body)
        return None if false is None else Fault(Reason.EQUATION, f"it asserts {false.text}")

    def _known(self, problem: str, response: str, body: str) -> Fault | None:
        name = self.test_sets.find(problem)
        if name is not None:
            return Fault(Reason.TEST_SET, f"the problem is in {name}")
        twin = self.seen.find(problem, f"{response}\n{body}")
        return None if twin is None else Fault(Reason.DUPLICATE, f"nearly the same as {twin}")


def verify(
    source: Place,
    kept: Path,
    checker: Checker,
    *,
    test_sets: Sequence[Place] = (),
    test_tasks: Sequence[Task] = (),
    allow_unanswered: bool = False,
    console: Console,
) -> Report:
    """Sort the critiques of `source` into `kept` and a file of rejections beside it; goes on where an earlier run was cut off."""
    rejected = rejections(kept)
    held_out = [*map(tables.identity, test_sets), *(task.fingerprint for task in test_tasks)]
    claim_output(kept, digest(["verify", VERSION, DUPLICATE_AT, NGRAM, allow_unanswered, tables.identity(source), held_out]))
    judged = done([kept, rejected])
    verifier = Verifier(checker, _load(test_sets, test_tasks), allow_unanswered=allow_unanswered)
    for number, record in records.read(kept):
        verifier.keep(Row(record, f"{kept}:{number}"))
    with records.Log(kept) as good, records.Log(rejected) as bad:
        for row in track(_rows(source), "verifying", console=console, transient=True):
            if row.record["id"] in judged:
                continue
            truth = verifier.truth(row)
            fault = verifier.fault(row, truth)
            if fault is None:
                verifier.keep(row)
                good.append({**row.record, "label": truth})
            else:
                bad.append(
                    {"id": row.record["id"], "reason": fault.reason.value, "detail": fault.detail, "label": truth, "row": row.record}
                )
    found = report(kept)
    records.write_atomic(report_file(kept), json.dumps(summary(found), indent=1) + "\n")
    return found


def rejections(kept: Path) -> Path:
    """Where the rejections of a stage lie."""
    return kept.with_name(f"{kept.stem}.rejected{kept.suffix}")


def report_file(kept: Path) -> Path:
    """Where the report of a stage lies."""
    return kept.with_name(f"{kept.stem}.report.json")


def report(kept: Path) -> Report:
    """Count what a finished stage left."""
    conclusions: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    faults: Counter[tuple[str, str]] = Counter()
    for _, record in records.read(kept):
        conclusions[record["conclusion"]] += 1
        judged[record["label"]] += 1
    for _, record in records.read(rejections(kept)):
        reasons[record["reason"]] += 1
        if record["label"] is not None and record["reason"] not in UNJUDGED:
            judged[record["label"]] += 1
            faults[record["label"], record["reason"]] += 1
    return Report(conclusions.total(), conclusions, reasons, Noise(judged, faults, [reason.value for reason in NOISE]))


def summary(found: Report) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "kept": found.kept,
        "conclusions": dict(found.conclusions),
        "rejected": dict(found.rejected),
        "teacher_noise": found.noise,
        "noise": found.rates.json(),
    }


def _rows(source: Place) -> Iterator[Row]:
    """Critiques, each with an id; the same id twice is an error."""
    seen: set[str] = set()
    for where, record in tables.read(source):
        row = Row({**record, **published(record)}, where)
        name = row.optional("id") or content_id(row.text("problem"), row.text("response"), row.text("critique"))
        if name in seen:
            raise row.bad("id", f"{name!r} stands in an earlier row too")
        seen.add(name)
        yield Row({**row.record, "id": name}, where)


def _load(files: Sequence[Place], tasks: Sequence[Task]) -> TestSets:
    sets = TestSets()
    for file in files:
        name = file.name if isinstance(file, Path) else str(file)
        sets.add(name, (_problem(Row(record, where)) for where, record in tables.read(file)))
    for task in tasks:
        sets.add(task.name, (problem.problem for problem in task.problems))
    return sets


def _problem(row: Row) -> str:
    return row.text("question" if "problem" not in row.record and "question" in row.record else "problem")
