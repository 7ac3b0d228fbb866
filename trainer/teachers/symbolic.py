"""The symbolic teacher: critiques without a model. It words what `trainer.teachers.judge` found, in ways that vary with a seed.

Stepwise, each step that can be checked is computed, then compared with the solution's, up to the first false one; then comes the right
derivation. Or the problem is solved first, then the answers are compared, and then the first false step is named: a model that learns
this judges about as well as it solves. A false step is never repeated as if it were true: every equation in a critique holds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from redraft.prompts import RIGHT, WRONG
from trainer.algebra.equations import Equation, Truth
from trainer.checking import Checker
from trainer.teachers.judge import Finding, Judgement, Key, judge
from trainer.teachers.wordings import VARIED, Phrases, Wordings

NAME, VERSION = "symbolic", 1
"""The version is raised whenever the same response would get another critique."""
NUMBER = re.compile(r"-?[\d.,]+(?:/\d+)?")


class Approach(StrEnum):
    """How the teacher comes to its conclusion."""

    STEPWISE = "stepwise"
    """Each step is judged, up to the first false one."""
    SOLVE_FIRST = "solve-first"
    """The problem is solved without a look at the response, then the answers are compared."""


@dataclass(frozen=True, slots=True)
class Critique:
    """A critique's text without its conclusion, and the conclusion. `answer` is the right answer that the text states."""

    body: str
    conclusion: str
    finding: Finding
    answer: str | None


@dataclass(frozen=True, slots=True)
class CannotJudge:
    reason: str


class SymbolicTeacher:
    """Judges with exact arithmetic; answers are extracted by `checker`, as everywhere else."""

    def __init__(self, checker: Checker, seed: int, wordings: Wordings = VARIED, approach: Approach = Approach.STEPWISE) -> None:
        self.checker = checker
        self.seed = seed
        self.wordings = wordings
        self.approach = approach

    def critique(self, problem: str, response: str, key: Key, sample: int = 0) -> Critique | CannotJudge:
        """One critique; `sample` chooses among its wordings."""
        judgement = judge(problem, response, self.checker.extract(response), key)
        if judgement.finding is Finding.CANNOT_JUDGE:
            return CannotJudge(judgement.reason)
        say = _Sayer(random.Random(f"{VERSION}:{self.seed}:{sample}:{problem}\n{response}"), self.wordings)
        if self.approach is Approach.SOLVE_FIRST:
            own = _own_solution(judgement)
            if not own:
                return CannotJudge("the problem cannot be solved without the response's steps")
            lines = _solved_first(judgement, own, say)
        else:
            lines = [say(say.words.openings), *_steps(judgement.steps, say), *ENDINGS[judgement.finding](judgement, say)]
        conclusion = RIGHT if judgement.finding is Finding.SOUND else WRONG
        return Critique("\n".join(line for line in lines if line), conclusion, judgement.finding, judgement.answer)


class _Sayer:
    """Picks a wording and fills it."""

    def __init__(self, chance: random.Random, words: Wordings) -> None:
        self.chance = chance
        self.words = words
        self.numbered = chance.random() < 0.5 and words.numbered

    def __call__(self, wordings: Phrases, **fields: str) -> str:
        return self.chance.choice(wordings).format(**fields)


def _steps(steps: tuple[Equation, ...], say: _Sayer) -> list[str]:
    return [(f"Step {index}: " if say.numbered else "") + _step(step, say) for index, step in enumerate(steps, start=1)]


def _step(step: Equation, say: _Sayer) -> str:
    """The left side is computed first, in words that do not depend on what comes of it: a critic that learns this has to compute too."""
    if step.value is None or not step.work:
        if step.truth is Truth.HOLDS:
            return say(say.words.holds, step=step.text)
        variable = next((letter for letter in step.left + step.right if letter.isalpha()), "number")
        return say(say.words.false_variable, left=step.left, said=step.right, variable=variable)
    if step.truth is Truth.HOLDS and not NUMBER.fullmatch(step.right):
        return say(say.words.holds, step=step.text)
    true = step.right if step.truth is Truth.HOLDS else step.work[-1].rpartition("= ")[2]
    return say(say.words.computed, left=step.left, true=true) + say(
        say.words.agrees if step.truth is Truth.HOLDS else say.words.differs, said=step.right
    )


def _own_solution(judgement: Judgement) -> list[str]:
    """True equations that lead to the answer: the response's own while they hold, then the derivation. Empty where there is no answer."""
    if judgement.answer is None:
        return []
    ahead = [] if judgement.finding is Finding.ASTRAY else [step.text for step in judgement.steps if step.truth is Truth.HOLDS]
    derived = {"".join(text.split()) for text in judgement.derivation}
    return [*(text for text in ahead if "".join(text.split()) not in derived), *judgement.derivation]


def _solved_first(judgement: Judgement, own: list[str], say: _Sayer) -> list[str]:
    compared = say.words.same if judgement.finding is Finding.SOUND else say.words.other
    lines = [
        f"{say(say.words.solving)} {', '.join(own)}.",
        say(say.words.answer, answer=judgement.answer or ""),
        say(compared, given=judgement.given or "none"),
    ]
    return lines if judgement.finding is not Finding.FALSE_STEP else [*lines, _located(judgement.steps[-1], say)]


def _located(step: Equation, say: _Sayer) -> str:
    """The first false step, beside what it should have been."""
    if step.value is None or not step.work:
        return _step(step, say)
    return say(say.words.located, left=step.left, true=step.work[-1].rpartition("= ")[2], said=step.right)


def _sound(judgement: Judgement, say: _Sayer) -> list[str]:
    return [*_derivation(judgement, say), say(say.words.sound, answer=judgement.answer or "")]


def _false_step(judgement: Judgement, say: _Sayer) -> list[str]:
    if judgement.answer is None:
        return [say(say.words.unanswered)]
    return [*_derivation(judgement, say), say(say.words.answer, answer=judgement.answer)]


def _lost(judgement: Judgement, say: _Sayer) -> list[str]:
    return [say(say.words.lost, answer=judgement.answer or "", given=judgement.given or "none")]


def _astray(judgement: Judgement, say: _Sayer) -> list[str]:
    return [
        say(say.words.astray) if judgement.steps else "",
        *_derivation(judgement, say),
        say(say.words.answer, answer=judgement.answer or ""),
    ]


def _derivation(judgement: Judgement, say: _Sayer) -> list[str]:
    return (
        [f"{say(say.words.deriving if judgement.steps else say.words.working)} {', '.join(judgement.derivation)}."]
        if judgement.derivation
        else []
    )


ENDINGS: dict[Finding, Callable[[Judgement, _Sayer], list[str]]] = {
    Finding.SOUND: _sound,
    Finding.FALSE_STEP: _false_step,
    Finding.LOST: _lost,
    Finding.ASTRAY: _astray,
}
