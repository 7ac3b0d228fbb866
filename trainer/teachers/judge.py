"""The symbolic teacher's judgement: which step of a response is the first false one, and what the answer should have been. Exact, wordless.

It reads equations (`trainer.algebra.equations`) and solves what can be solved from the text (`trainer.algebra.problems`). Where that is
not enough, an answer key (a gold answer, a reference solution) helps; where nothing does, it says why it cannot judge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from trainer.algebra.equations import Equation, Truth, find
from trainer.algebra.exact import Unreadable, number, write
from trainer.algebra.problems import Solved, solve

NUMBER = re.compile(r"(?<![\w.,])\d+(?:\.\d+)?(?![\d,]*\d)")


class Finding(StrEnum):
    """What is said of a response."""

    SOUND = "sound"
    """Every step that can be checked holds, and the answer is right."""
    FALSE_STEP = "false_step"
    """A step is false."""
    LOST = "lost"
    """The steps hold and reach the right answer, but another one is given."""
    ASTRAY = "astray"
    """The steps hold by themselves, but do not lead to the answer."""
    CANNOT_JUDGE = "cannot_judge"


@dataclass(frozen=True, slots=True)
class Judgement:
    finding: Finding
    steps: tuple[Equation, ...] = ()
    """The equations that were judged, up to the first false one."""
    answer: str | None = None
    """The right answer, where the teacher can derive or was told it."""
    derivation: tuple[str, ...] = ()
    """True equations that lead to `answer`."""
    given: str | None = None
    """The answer that the response gives."""
    reason: str = ""
    """Why it cannot be judged."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a problem beside its text."""

    gold: str | None = None
    solution: str | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """A response with all that could be read of it."""

    response: str
    given: str | None
    key: Key
    solved: Solved | None
    truth: Fraction | None
    steps: tuple[Equation, ...]

    @property
    def right(self) -> bool:
        return self.truth is not None and _number(self.given) == self.truth


def judge(problem: str, response: str, given: str | None, key: Key) -> Judgement:
    """Judge `response`, whose extracted answer is `given`."""
    solved = solve(problem)
    steps = (step for step in find(response, solved.known if solved else None) if step.truth is not Truth.UNJUDGED)
    case = _Case(response, given, key, solved, solved.answer if solved else _number(key.gold), tuple(steps))
    false = next((index for index, step in enumerate(case.steps) if step.truth is Truth.FALSE), None)
    if given is not None and _number(given) is None:
        return _cannot(f"the answer {given!r} is no number")
    if false is not None:
        return _cannot("a step is false, yet the answer is right") if case.right else _after_false_step(case, case.steps[: false + 1])
    if case.truth is None:
        return _cannot("no step is false, and the problem cannot be solved from its text")
    return _sound(case) if case.right else _wrong_though_true(case, case.truth)


def _sound(case: _Case) -> Judgement:
    if not case.steps and not case.solved:
        return _cannot("no step can be checked")
    derivation = case.solved.work if case.solved and not case.steps else ()
    return Judgement(Finding.SOUND, case.steps, case.given, derivation, case.given)


def _wrong_though_true(case: _Case, truth: Fraction) -> Judgement:
    answer = write(truth, decimal=_decimal(case.given))
    if case.steps and case.steps[-1].value == truth:
        return Judgement(Finding.LOST, case.steps, answer, (), case.given)
    derivation = case.solved.work if case.solved else _reference(case.key, truth)
    if not derivation:
        return _cannot("the steps hold, but the answer is wrong: where it went astray cannot be told")
    return Judgement(Finding.ASTRAY, case.steps, answer, derivation, case.given)


def _after_false_step(case: _Case, steps: tuple[Equation, ...]) -> Judgement:
    """The right answer after an error: solved from the text, by the reference, or by the response's own steps done again."""
    if case.solved is not None:
        return Judgement(Finding.FALSE_STEP, steps, write(case.solved.answer), case.solved.work, case.given)
    redone, derivation = redo(find(case.response), len(steps))
    if case.truth is not None and redone != case.truth:
        reference = _reference(case.key, case.truth)
        return Judgement(Finding.FALSE_STEP, steps, write(case.truth) if reference else None, reference, case.given)
    answer = None if redone is None else write(redone, decimal=_decimal(case.response))
    return Judgement(Finding.FALSE_STEP, steps, answer, derivation, case.given)


def redo(steps: list[Equation], done: int) -> tuple[Fraction | None, tuple[str, ...]]:
    """Do the steps again from the first false one, with every result that was wrong put right wherever it is used later."""
    corrected: dict[Fraction, Fraction] = {}
    derivation: list[str] = []
    last: Fraction | None = None
    judged = 0
    for step in steps:
        judged += step.truth is not Truth.UNJUDGED
        if step.truth is Truth.UNJUDGED and judged >= done:
            return None, ()
        left = NUMBER.sub(lambda match: _put_right(match.group(), corrected), step.left)
        said, value = _number(step.right), _number(left)
        if said is None or value is None:
            if judged >= done:
                return None, ()
            continue
        if said != value:
            corrected[said] = value
        if judged >= done:
            derivation.append(f"{left} = {write(value, decimal=_decimal(step.text))}")
        last = value
    return last, tuple(derivation)


def _put_right(text: str, corrected: dict[Fraction, Fraction]) -> str:
    value = corrected.get(Fraction(text))
    if value is None:
        return text
    shown = write(value, decimal="." in text)
    return f"({shown})" if value < 0 or "/" in shown else shown


def _reference(key: Key, truth: Fraction) -> tuple[str, ...]:
    """The reference solution's steps, if all of them hold and they end at the right answer."""
    steps = find(key.solution or "")
    if not steps or any(step.truth is not Truth.HOLDS for step in steps) or steps[-1].value != truth:
        return ()
    return tuple(step.text for step in steps)


def _number(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        return number(text.strip().rstrip(".").split("=")[-1])
    except Unreadable:
        return None


def _decimal(text: str | None) -> bool:
    return bool(text and re.search(r"\d\.\d", text))


def _cannot(reason: str) -> Judgement:
    return Judgement(Finding.CANNOT_JUDGE, reason=reason)
