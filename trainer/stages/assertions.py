"""What a critique asserts and states: its false equations, and the answer that it calls right. Knows no label and no gold.

A critique may quote a false equation if it denies it. One that stands in the response counts as quoted; any other is the critique's own,
and only a plain denial takes it back.
"""

from __future__ import annotations

import re

from trainer.algebra.equations import Equation, Truth, find
from trainer.algebra.problems import solve
from trainer.checking import Checker

DENIAL = re.compile(
    r"\b(?:not|wrong\w*|incorrect\w*|false|error\w*|mistak\w*|isn't|aren't|doesn't|cannot|can't|invalid)\b|≠|\\neq?\b", re.IGNORECASE
)
CONTRAST = re.compile(r"\b(?:should|instead|claim\w*|but|however|rather)\b", re.IGNORECASE)
"""Words that set off a quoted step from the right one."""
TAKEN_BACK = re.compile(
    r"\W*(?:(?:but|however),?\s+)?(?:(?:this|that|it|which|the (?:step|result|sum|calculation)) (?:\w+ ){1,3}?)?"
    r"(?:not|wrong|incorrect|false|(?:an? )?(?:error|mistake)|mistaken|invalid)\b",
    re.IGNORECASE,
)
"""How the next sentence denies the one before."""
STATEMENT = re.compile(
    r"\b(?:(?:correct|right|true|actual|proper)\s+(?:final\s+)?(?:answer|value|result)\W{0,4}"
    r"(?:is|should be|would be|must be|=|:)|(?:final )?answer (?:should|must|ought to) (?:be|have been))\s*:?\s*([^\n]+)",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[.!?](?:\s|$)|\n")


def false_equation(problem: str, response: str, body: str) -> Equation | None:
    """The first false equation that `body` asserts."""
    solved = solve(problem)
    known = solved.known if solved else None
    false = [equation for equation in find(body, known) if equation.truth is Truth.FALSE]
    quotable = {equation.text for equation in find(response, known)} if false else set()
    return next((equation for equation in false if not _denied(body, equation, quoted=equation.text in quotable)), None)


def _denied(body: str, equation: Equation, *, quoted: bool) -> bool:
    sentence, rest = _sentence(body, equation.where)
    if DENIAL.search(sentence):
        return True
    return quoted and bool(CONTRAST.search(sentence) or TAKEN_BACK.match(rest))


def _sentence(text: str, place: int) -> tuple[str, str]:
    """The sentence that `place` is in, and what follows it."""
    start = max((match.end() for match in re.finditer(r"[.!?]\s|\n", text[:place])), default=0)
    end = SENTENCE_END.search(text, place)
    stop = end.end() if end else len(text)
    return text[start:stop], text[stop:]


def stated_answer(body: str, checker: Checker) -> str | None:
    """The answer that a critique calls the right one: its last box, else its last statement of the correct answer."""
    if "\\boxed" in body:
        return checker.extract(body)
    found = STATEMENT.findall(body)
    return checker.extract(f"The answer is {found[-1]}") if found else None
