"""Reads a critic's words and its log-probabilities. Knows the labels and nothing of engines."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from redraft.prompts import CONCLUSION, END, RIGHT, WRONG
from redraft.types import Verdict

_WORDS = {RIGHT: Verdict.CORRECT, "correct": Verdict.CORRECT, WRONG: Verdict.INCORRECT, "incorrect": Verdict.INCORRECT}
_CONCLUSION = re.compile(rf"{CONCLUSION}\W{{0,8}}(right|wrong|correct|incorrect)\b", re.IGNORECASE)

MIN_LABEL_MASS = 0.05
"""Below this share of the next token's probability the labels say nothing, and the critic abstains."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What the token after `Conclusion:` says. `p_correct` is None when the labels hold less than MIN_LABEL_MASS."""

    p_correct: float | None
    label_mass: float


def conclusion(text: str) -> Verdict | None:
    """The verdict that a critique's text states last, or None when it states none."""
    found = _CONCLUSION.findall(text)
    return _WORDS[found[-1].lower()] if found else None


def body(text: str) -> str:
    """The critique without its conclusion line and end mark."""
    cut = text.split(CONCLUSION, 1)[0] if CONCLUSION in text else text
    return cut.replace(END, "").strip()


def belief(top_logprobs: Mapping[str, float]) -> Belief:
    """P(correct) from the candidates for the verdict token: the share of the `right` labels among all labels.

    Tokens are matched without case and surrounding space; both the paper's words and `correct`/`incorrect` count.
    """
    mass = {Verdict.CORRECT: 0.0, Verdict.INCORRECT: 0.0}
    for token, logprob in top_logprobs.items():
        verdict = _WORDS.get(token.replace("Ġ", " ").replace("▁", " ").strip().lower())
        if verdict is not None:
            mass[verdict] += math.exp(logprob)
    total = mass[Verdict.CORRECT] + mass[Verdict.INCORRECT]
    if total < MIN_LABEL_MASS:
        return Belief(None, total)
    return Belief(mass[Verdict.CORRECT] / total, total)
