"""Finds the equations in a text that exact arithmetic can judge: `a op b = c`, chains of them, and linear ones whose root is known.

The rule is to be silent rather than wrong: an equation is called false only if no other reading of its surroundings could make it
true. Units, percents, rounding, remainders, list marks and words like `half of` all raise such doubts; then it is left unjudged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from trainer.algebra.exact import Reading, Unreadable, read
from trainer.algebra.prose import Run, runs


class Truth(StrEnum):
    HOLDS = "holds"
    FALSE = "false"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class Equation:
    """One `left = right` of a text, as it is written there; `where` is the place of its first character."""

    left: str
    right: str
    truth: Truth
    where: int
    value: Fraction | None = None
    """What the left side is worth, where it is a number."""
    work: tuple[str, ...] = ()
    """The operations of the left side, done exactly."""

    @property
    def text(self) -> str:
        return f"{self.left} = {self.right}"


@dataclass(frozen=True, slots=True)
class Known:
    """The variable of a problem and its value there: what equations with a variable are judged by."""

    variable: str
    root: Fraction


def find(text: str, known: Known | None = None) -> list[Equation]:
    """All equations of `text` in order, judged."""
    return [equation for run in runs(text, known.variable if known else None) for equation in _judge_run(run, known)]


def _judge_run(run: Run, known: Known | None) -> Iterator[Equation]:
    sides = run.text.split("=")
    place = run.start
    for index in range(len(sides) - 1):
        left, right = _shown(sides[index]), _shown(sides[index + 1])
        here, place = place, place + len(sides[index]) + 1
        if not left or not right:
            continue
        first, last = index == 0, index == len(sides) - 2
        doubtful = run.doubtful(left, first=first, last=last)
        yield _judge(left, right, here, doubtful, known)


def _shown(side: str) -> str:
    text = re.sub(r"\\boxed\s*\{([^{}]*)\}", r"\1", side).replace("\\boxed", "")
    text = re.sub(r"\\[()\[\]]|\\left|\\right|\*\*|&|\\?\$|\n", "", text)
    return re.sub(r"\s+", " ", text).strip(" ,")


def _judge(left: str, right: str, where: int, doubtful: bool, known: Known | None) -> Equation:
    variable = known.variable if known else None
    try:
        a, b = read(left, variable), read(right, variable)
    except Unreadable:
        return Equation(left, right, Truth.UNJUDGED, where)
    value = None if a.value.slope else a.value.constant
    if _equal(a, b, known):
        return Equation(left, right, Truth.HOLDS, where, value, a.work)
    doubtful = doubtful or _other_reading(left, right, a, b)
    return Equation(left, right, Truth.UNJUDGED if doubtful else Truth.FALSE, where, value, a.work)


def _equal(a: Reading, b: Reading, known: Known | None) -> bool:
    if known is None or not (a.value.slope or b.value.slope):
        return a.value == b.value
    return a.value.at(known.root) == b.value.at(known.root)


def _other_reading(left: str, right: str, a: Reading, b: Reading) -> bool:
    """Rounding to the places that are written, a percent sign left out or added, and a minus that may be a dash."""
    difference, wanted = abs(a.value.constant - b.value.constant), b.value.constant
    places = re.fullmatch(r"-?[\d,]*\.(\d+)", right)
    if places and difference < Fraction(1, 10 ** len(places.group(1))):
        return True
    if "%" in left + right and wanted in (a.value.constant * 100, a.value.constant / 100):
        return True
    if left[0] in "-−":
        try:
            return read(left[1:]).value == b.value
        except Unreadable:
            return True
    return False
