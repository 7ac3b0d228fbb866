"""How much several verdicts on one answer repeat each other, once the truth is known: intraclass correlations. Pure functions.

Verdicts on right responses scatter about the true positive rate, those on wrong ones about the false positive rate. Where two critiques of
one response (or of two responses with one answer) err together more often than chance has it, they are correlated, and n of them are worth
n / (1 + (n - 1) rho) independent ones. The estimate is the pairwise one, each group weighing by its size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

PRIOR = 10.0
"""So many verdicts that copy each other are added to what was measured: with little data, a correlation stays near 1."""


@dataclass(frozen=True, slots=True)
class Said:
    """One verdict: whether it says correct, whether that is so, which response and answer it is on, and its weight at equal votes."""

    says: bool
    correct: bool
    response: str
    answer: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class _Error:
    """How far a verdict lies from its kind's rate, and that kind's variance."""

    value: float
    variance: float
    said: Said


def of_responses(said: Sequence[Said]) -> float:
    """Between critiques of one response; 1 where no response was judged twice."""
    return _correlation(said, lambda s: s.response, lambda a, b: True)


def of_answers(said: Sequence[Said]) -> float:
    """Between critiques of different responses that give one answer; 1 where no answer came twice."""
    return _correlation(said, lambda s: s.answer, lambda a, b: a.response != b.response)


def _correlation(said: Sequence[Said], group_of: Callable[[Said], str], pairs: Callable[[Said, Said], bool]) -> float:
    found = [pair for group in _groups(_errors(said), group_of) for pair in _products(group, pairs)]
    weight = sum(w for w, _, _ in found)
    if not weight:
        return 1.0
    variance = sum(w * v for w, _, v in found) / weight
    if not variance:
        return 1.0
    rho = (sum(w * product for w, product, _ in found) + PRIOR * variance) / ((weight + PRIOR) * variance)
    return max(0.0, min(1.0, rho))


def _errors(said: Sequence[Said]) -> list[_Error]:
    errors = []
    for kind in (True, False):
        own = [s for s in said if s.correct is kind]
        rate = sum(s.says for s in own) / len(own) if own else 0.0
        errors += [_Error(s.says - rate, rate * (1 - rate), s) for s in own]
    return errors


def _groups(errors: Iterable[_Error], group_of: Callable[[Said], str]) -> list[list[_Error]]:
    groups: dict[tuple[str, bool], list[_Error]] = defaultdict(list)
    for error in errors:
        groups[group_of(error.said), error.said.correct].append(error)
    return list(groups.values())


def _products(group: Sequence[_Error], pairs: Callable[[Said, Said], bool]) -> Iterator[tuple[float, float, float]]:
    """Weight, product of errors and variance of each ordered pair; the weights of a group add up to its members that are in a pair."""
    for a in group:
        others = [b for b in group if b is not a and pairs(a.said, b.said)]
        for b in others:
            yield 1 / len(others), a.value * b.value, a.variance
