"""The `verify` stage: only critiques that can be trusted are kept, and every rejection is a record with its reason.

Kept is a critique whose conclusion agrees with the checker's label of the response, whose stated answer equals the gold, in which
every equation that can be checked is true (a false one may be quoted from the response, if the sentence denies it), that is no
near duplicate, and whose problem is in no test set.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from redraft import records
from trainer.checking import Checker, label
from trainer.critique import CRITIQUE
from trainer.equations import Truth, find
from trainer.likeness import NearDuplicates, TestSets
from trainer.origin import digest, sha256
from trainer.problems import solve
from trainer.rows import Row
from trainer.runs import claim_output, done

DENIAL = re.compile(
    r"\b(?:not|wrong\w*|incorrect\w*|false|error\w*|mistak\w*|should|instead|isn't|aren't|doesn't|cannot|can't|claim\w*|invalid|but|however|rather)\b"
    r"|≠|\\neq?\b",
    re.IGNORECASE,
)
DUPLICATE_AT = 0.9


class Reason(StrEnum):
    """Why a critique is not kept."""

    NOT_JUDGED = "not_judged"
    NO_LABEL = "no_label"
    """Neither a label nor a gold answer: nothing to verify it by."""
    CONCLUSION = "conclusion"
    """It calls a right response wrong, or a wrong one right."""
    ANSWER = "answer"
    """The answer that it states is not the gold."""
    EQUATION = "equation"
    """It asserts an equation that is false."""
    DUPLICATE = "duplicate"
    TEST_SET = "test_set"


NOISE = (Reason.CONCLUSION, Reason.ANSWER, Reason.EQUATION)
"""The reasons that are the teacher's faults."""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the critiques."""

    kept: int
    conclusions: Counter[str]
    rejected: Counter[str]

    @property
    def noise(self) -> float:
        """The share of critiques that the teacher got wrong."""
        faults = sum(self.rejected[reason.value] for reason in NOISE)
        judged = self.kept + faults + self.rejected[Reason.DUPLICATE.value] + self.rejected[Reason.TEST_SET.value]
        return faults / judged if judged else 0.0


class Verifier:
    """Holds what was kept so far: a duplicate can only be told from others."""

    def __init__(self, checker: Checker, test_sets: TestSets) -> None:
        self.checker = checker
        self.test_sets = test_sets
        self.seen = NearDuplicates(DUPLICATE_AT)

    def fault(self, row: Row) -> tuple[Reason, str] | None:
        """Why this critique is not to be kept, or None."""
        record = row.record
        if record.get("outcome", CRITIQUE) != CRITIQUE:
            return Reason.NOT_JUDGED, str(record.get("reason", record["outcome"]))
        problem, response, body, conclusion = (row.text(field) for field in ("problem", "response", "critique", "conclusion"))
        truth = self._label(row, response)
        if truth is None:
            return Reason.NO_LABEL, "the row has neither a label nor a gold answer"
        if conclusion != truth:
            return Reason.CONCLUSION, f"it concludes {conclusion}, the checker says {truth}"
        return self._false_answer(row, body) or _false_equation(problem, body) or self._seen_before(row, problem, response, body)

    def keep(self, row: Row) -> None:
        """Remember a critique that was kept."""
        self.seen.add(row.text("problem"), str(row.record["id"]), f"{row.text('response')}\n{row.text('critique')}")

    def _label(self, row: Row, response: str) -> str | None:
        stated, gold = row.optional("label"), row.optional("gold")
        return stated or (label(self.checker, gold, response) if gold else None)

    def _false_answer(self, row: Row, body: str) -> tuple[Reason, str] | None:
        gold = row.optional("gold")
        stated = row.optional("answer") or (self.checker.extract(body) if "\\boxed" in body else None)
        if not gold or not stated or self.checker.is_equal(gold, stated):
            return None
        return Reason.ANSWER, f"it states {stated}, the gold is {gold}"

    def _seen_before(self, row: Row, problem: str, response: str, body: str) -> tuple[Reason, str] | None:
        name = self.test_sets.find(problem)
        if name is not None:
            return Reason.TEST_SET, f"the problem is in {name}"
        twin = self.seen.find(problem, f"{response}\n{body}")
        return None if twin is None else (Reason.DUPLICATE, f"nearly the same as {twin}")


def _false_equation(problem: str, body: str) -> tuple[Reason, str] | None:
    solved = solve(problem)
    for equation in find(body, solved.known if solved else None):
        if equation.truth is Truth.FALSE and not DENIAL.search(_sentence(body, equation.where)):
            return Reason.EQUATION, f"it asserts {equation.text}"
    return None


def _sentence(text: str, place: int) -> str:
    """The sentence that `place` is in."""
    start = max((match.end() for match in re.finditer(r"[.!?]\s|\n", text[:place])), default=0)
    end = re.search(r"[.!?](?:\s|$)|\n", text[place:])
    return text[start : place + end.start() if end else len(text)]


def verify(source: Path, kept: Path, checker: Checker, *, test_sets: Sequence[Path], console: Console) -> Report:
    """Sort the critiques of `source` into `kept` and a file of rejections beside it; goes on where an earlier run was cut off."""
    rejected = rejections(kept)
    run = digest(["verify", DUPLICATE_AT, sha256(source), [sha256(path) for path in test_sets]])
    claim_output(kept, run)
    judged = done([kept, rejected])
    verifier = Verifier(checker, _load(test_sets))
    for row in _rows(kept):
        verifier.keep(row)
    with records.Log(kept) as good, records.Log(rejected) as bad:
        for row in track(_rows(source), "verifying", console=console, transient=True):
            if row.text("id") in judged:
                continue
            fault = verifier.fault(row)
            if fault is None:
                verifier.keep(row)
                good.append(row.record)
            else:
                bad.append({"id": row.record["id"], "reason": fault[0].value, "detail": fault[1], "row": row.record})
    return report(kept)


def rejections(kept: Path) -> Path:
    """Where the rejections of a stage lie."""
    return kept.with_name(f"{kept.stem}.rejected{kept.suffix}")


def report(kept: Path) -> Report:
    """Count what a finished stage left."""
    conclusions = Counter(record["conclusion"] for _, record in records.read(kept))
    reasons: Counter[str] = Counter(record["reason"] for _, record in records.read(rejections(kept)))
    return Report(conclusions.total(), conclusions, reasons)


def _rows(path: Path) -> Iterator[Row]:
    for number, record in records.read(path):
        yield Row(record, f"{path}:{number}")


def _load(paths: Sequence[Path]) -> TestSets:
    sets = TestSets()
    for path in paths:
        sets.add(path.name, (_problem(row) for row in _rows(path)))
    return sets


def _problem(row: Row) -> str:
    return row.text("question" if "problem" not in row.record and "question" in row.record else "problem")


def summary(found: Report) -> dict[str, Any]:
    """The report as JSON."""
    return {"kept": found.kept, "conclusions": dict(found.conclusions), "rejected": dict(found.rejected), "teacher_noise": found.noise}
