"""The symbolic teacher: critiques without a model. It words what `trainer.judge` found, in ways that vary with a seed.

Each step that can be checked is computed, then compared with the solution's, up to the first false one; then comes the right derivation.
A false step is never repeated as if it were true: every equation in a critique holds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from redraft.prompts import RIGHT, WRONG
from trainer.checking import Checker
from trainer.equations import Equation, Truth
from trainer.judge import Finding, Judgement, Key, judge

NAME, VERSION = "symbolic", 1
PLAIN = re.compile(r"-?[\d.,]+(?:/\d+)?")
"""The version is raised whenever the same response would get another critique."""

OPENINGS = ("", "", "I check each step.", "Let us go through the steps.", "Each calculation is checked in turn.", "First, the arithmetic.")
COMPUTED = ("{left} = {true}", "I get {left} = {true}", "Computed again, {left} = {true}")
AGREES = (
    ", as in the solution.",
    ", and the solution has {said}: correct.",
    ", the same as the solution's {said}.",
    ". The solution agrees.",
)
DIFFERS = (
    ", but the solution has {said}: this is false.",
    ", not {said}. Here is the mistake.",
    ", and the solution's {said} is wrong.",
    ". The solution has {said} instead: the first error.",
)
HOLDS = ("{step} holds.", "{step} is true.", "{step}: correct.", "{step} checks out.")
"""For steps whose right side is no plain number."""
FALSE_VARIABLE = (
    "The step from here is false: {left} cannot be {said} when {variable} solves the equation.",
    "This does not follow: {left} is not {said} for the {variable} of this equation.",
)
WORKING = ("The problem gives:", "Worked out from the problem:", "By calculation:")
"""Where the response shows no step: said alike of right answers and wrong ones."""
DERIVING = ("Done right:", "The correct steps:", "Correctly:", "Put right, it goes:")
ANSWER = ("So the answer is \\boxed{{{answer}}}.", "The correct answer is \\boxed{{{answer}}}.", "This gives \\boxed{{{answer}}}.")
SOUND = (
    "The answer \\boxed{{{answer}}} is correct.",
    "No step is false, and the answer is \\boxed{{{answer}}}.",
    "So \\boxed{{{answer}}} is right.",
)
LOST = (
    "The steps reach \\boxed{{{answer}}}, but the solution gives {given} as its answer.",
    "The solution ends with {given}, although its own steps lead to \\boxed{{{answer}}}.",
)
ASTRAY = (
    "These steps do not answer the question.",
    "The steps do not lead to the answer of this problem.",
    "That is not what was asked for.",
)
UNANSWERED = ("The answer that follows from it cannot be right.", "What follows from it is wrong too.")


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

    def __init__(self, checker: Checker, seed: int) -> None:
        self.checker = checker
        self.seed = seed

    def critique(self, problem: str, response: str, key: Key, sample: int = 0) -> Critique | CannotJudge:
        """One critique; `sample` chooses among its wordings."""
        judgement = judge(problem, response, self.checker.extract(response), key)
        if judgement.finding is Finding.CANNOT_JUDGE:
            return CannotJudge(judgement.reason)
        say = _Sayer(random.Random(f"{VERSION}:{self.seed}:{sample}:{problem}\n{response}"))
        lines = [say(OPENINGS), *_steps(judgement.steps, say), *ENDINGS[judgement.finding](judgement, say)]
        conclusion = RIGHT if judgement.finding is Finding.SOUND else WRONG
        return Critique("\n".join(line for line in lines if line), conclusion, judgement.finding, judgement.answer)


class _Sayer:
    """Picks a wording and fills it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.numbered = chance.random() < 0.5

    def __call__(self, wordings: tuple[str, ...], **fields: str) -> str:
        return self.chance.choice(wordings).format(**fields)


def _steps(steps: tuple[Equation, ...], say: _Sayer) -> list[str]:
    return [(f"Step {index}: " if say.numbered else "") + _step(step, say) for index, step in enumerate(steps, start=1)]


def _step(step: Equation, say: _Sayer) -> str:
    """The left side is computed first, in words that do not depend on what comes of it: a critic that learns this has to compute too."""
    if step.value is None or not step.work:
        if step.truth is Truth.HOLDS:
            return say(HOLDS, step=step.text)
        variable = next((letter for letter in step.left + step.right if letter.isalpha()), "number")
        return say(FALSE_VARIABLE, left=step.left, said=step.right, variable=variable)
    if step.truth is Truth.HOLDS and not PLAIN.fullmatch(step.right):
        return say(HOLDS, step=step.text)
    true = step.right if step.truth is Truth.HOLDS else step.work[-1].rpartition("= ")[2]
    return say(COMPUTED, left=step.left, true=true) + say(AGREES if step.truth is Truth.HOLDS else DIFFERS, said=step.right)


def _sound(judgement: Judgement, say: _Sayer) -> list[str]:
    return [*_derivation(judgement, say), say(SOUND, answer=judgement.answer or "")]


def _false_step(judgement: Judgement, say: _Sayer) -> list[str]:
    if judgement.answer is None:
        return [say(UNANSWERED)]
    return [*_derivation(judgement, say), say(ANSWER, answer=judgement.answer)]


def _lost(judgement: Judgement, say: _Sayer) -> list[str]:
    return [say(LOST, answer=judgement.answer or "", given=judgement.given or "none")]


def _astray(judgement: Judgement, say: _Sayer) -> list[str]:
    return [say(ASTRAY) if judgement.steps else "", *_derivation(judgement, say), say(ANSWER, answer=judgement.answer or "")]


def _derivation(judgement: Judgement, say: _Sayer) -> list[str]:
    return [f"{say(DERIVING if judgement.steps else WORKING)} {', '.join(judgement.derivation)}."] if judgement.derivation else []


ENDINGS: dict[Finding, Callable[[Judgement, _Sayer], list[str]]] = {
    Finding.SOUND: _sound,
    Finding.FALSE_STEP: _false_step,
    Finding.LOST: _lost,
    Finding.ASTRAY: _astray,
}
