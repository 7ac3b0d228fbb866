"""The words of the symbolic teacher: many ways to say each thing, or one. Knows what can be said, not when."""

from __future__ import annotations

import enum
from dataclasses import dataclass

Phrases = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wordings:
    """What can be said, by occasion; each a choice of format strings."""

    openings: Phrases
    computed: Phrases
    """The left side, computed."""
    agrees: Phrases
    """After it, where the solution has the same."""
    differs: Phrases
    """After it, where the solution has something else."""
    holds: Phrases
    """For steps whose right side is no plain number."""
    false_variable: Phrases
    working: Phrases
    """Where the response shows no step: said alike of right answers and wrong ones."""
    deriving: Phrases
    answer: Phrases
    sound: Phrases
    lost: Phrases
    astray: Phrases
    unanswered: Phrases
    solving: Phrases
    """Before the problem is solved, ahead of any look at the response."""
    same: Phrases
    """After that solution's answer, where the response gives it too."""
    other: Phrases
    """And where it does not."""
    located: Phrases
    """The first false step, once the answers were compared."""
    numbered: bool
    """Whether some critiques number their steps."""


VARIED = Wordings(
    openings=(
        "",
        "",
        "I check each step.",
        "Let us go through the steps.",
        "Each calculation is checked in turn.",
        "First, the arithmetic.",
    ),
    computed=(
        "{left} = {true}",
        "I get {left} = {true}",
        "Computed again, {left} = {true}",
    ),
    agrees=(
        ", as in the solution.",
        ", and the solution has {said}: correct.",
        ", the same as the solution's {said}.",
        ". The solution agrees.",
    ),
    differs=(
        ", but the solution has {said}: this is false.",
        ", not {said}. Here is the mistake.",
        ", and the solution's {said} is wrong.",
        ". The solution has {said} instead: the first error.",
    ),
    holds=(
        "{step} holds.",
        "{step} is true.",
        "{step}: correct.",
        "{step} checks out.",
    ),
    false_variable=(
        "The step from here is false: {left} cannot be {said} when {variable} solves the equation.",
        "This does not follow: {left} is not {said} for the {variable} of this equation.",
    ),
    working=(
        "The problem gives:",
        "Worked out from the problem:",
        "By calculation:",
    ),
    deriving=(
        "Done right:",
        "The correct steps:",
        "Correctly:",
        "Put right, it goes:",
    ),
    answer=(
        "So the answer is \\boxed{{{answer}}}.",
        "The correct answer is \\boxed{{{answer}}}.",
        "This gives \\boxed{{{answer}}}.",
    ),
    sound=(
        "The answer \\boxed{{{answer}}} is correct.",
        "No step is false, and the answer is \\boxed{{{answer}}}.",
        "So \\boxed{{{answer}}} is right.",
    ),
    lost=(
        "The steps reach \\boxed{{{answer}}}, but the solution gives {given} as its answer.",
        "The solution ends with {given}, although its own steps lead to \\boxed{{{answer}}}.",
    ),
    astray=(
        "These steps do not answer the question.",
        "The steps do not lead to the answer of this problem.",
        "That is not what was asked for.",
    ),
    unanswered=(
        "The answer that follows from it cannot be right.",
        "What follows from it is wrong too.",
    ),
    solving=(
        "Solved from the problem alone:",
        "I solve it first:",
        "My own steps:",
    ),
    same=(
        "The solution gives {given}: the same.",
        "The solution's {given} agrees with it.",
        "The solution has {given} as well.",
    ),
    other=(
        "The solution gives {given}: something else.",
        "The solution's {given} is not that.",
        "The solution has {given} instead.",
    ),
    located=(
        "The first error: {left} = {true}, not {said}.",
        "It goes wrong where {left} = {true} and the solution has {said}.",
    ),
    numbered=True,
)
PLAIN = Wordings(
    openings=("",),
    computed=("{left} = {true}",),
    agrees=(", solution {said}: same.",),
    differs=(", solution {said}: different.",),
    holds=("{step}: true.",),
    false_variable=("{left} is not {said} for the {variable} of this equation.",),
    working=("From the problem:",),
    deriving=("Done right:",),
    answer=("The answer is \\boxed{{{answer}}}.",),
    sound=("The answer is \\boxed{{{answer}}}.",),
    lost=("The steps reach \\boxed{{{answer}}}, the solution gives {given}.",),
    astray=("These steps do not answer the question.",),
    unanswered=("What follows is wrong too.",),
    solving=("Solved anew:",),
    same=("Solution {given}: same.",),
    other=("Solution {given}: different.",),
    located=("First error: {left} = {true}, solution {said}.",),
    numbered=False,
)
"""One way to say each thing, and nothing else: a small model spends what it can learn on the arithmetic and the comparison."""


class Wording(enum.StrEnum):
    """How the teacher words its critiques."""

    VARIED = "varied"
    PLAIN = "plain"

    @property
    def wordings(self) -> Wordings:
        return PLAIN if self is Wording.PLAIN else VARIED
