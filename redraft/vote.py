"""Voting over mathematically equal answers: pure functions, and one coroutine that asks a checker what is equal.

A group is a list of response indices whose answers are equal; its representative is its lowest index. Ties always go to the group
with the lowest index, so that equal input gives equal output. References: self-consistency (arXiv 2203.11171); weighting a verdict
by its log-likelihood ratio is the naive Bayes rule for a binary witness.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from redraft.types import Calibration, Verdict

Equal = Callable[[str, str], Awaitable[bool]]
Groups = list[list[int]]

MAX_LLR = 3.0
"""A verdict never counts for more than three drafts: calibration splits are small."""

INFORMED = 0.6
"""The break-even: the balanced accuracy above which a critic pays (below it, more drafts pay better than critiques)."""


async def place(groups: Groups, answers: Mapping[int, str], index: int, equal: Equal) -> int:
    """Put response `index` into the group of its answer, or into a new one; return the group's position."""
    answer = answers[index]
    for position, group in enumerate(groups):
        if any(answers[member] == answer for member in group) or await equal(answers[group[0]], answer):
            group.append(index)
            return position
    groups.append([index])
    return len(groups) - 1


async def cluster(answers: Sequence[str | None], equal: Equal) -> Groups:
    """Group the positions of `answers` by equality. None (no answer) belongs to no group."""
    known = {i: a for i, a in enumerate(answers) if a is not None}
    groups: Groups = []
    for index in known:
        await place(groups, known, index, equal)
    return groups


def winner(groups: Groups, weights: Sequence[float]) -> int | None:
    """Position of the heaviest group; ties go to the one with the lowest member. None when there is no group."""
    if not groups:
        return None
    return min(range(len(groups)), key=lambda g: (-weights[g], min(groups[g])))


def lead(weights: Sequence[float]) -> float:
    """How far the heaviest group is ahead of the second (of nothing, when it is alone)."""
    ranked = sorted(weights, reverse=True)
    if not ranked:
        return 0.0
    return ranked[0] - (ranked[1] if len(ranked) > 1 else 0.0)


def settled(weights: Sequence[float], outstanding: float) -> bool:
    """True when `outstanding` more votes, all for the second group or for a new one, could not even tie with the leader."""
    return lead(weights) > outstanding


def beta_lead(first: float, second: float) -> float:
    """P that the leading answer is drawn more often than the second, after `first` and `second` votes for them.

    The Beta(first + 1, second + 1) posterior's mass above one half (the stopping rule of adaptive consistency, arXiv 2305.11860). Votes
    that are no whole numbers are rounded against the leader.
    """
    a, b = math.floor(first), math.ceil(second)
    if a < b:
        return 0.0
    n = a + b + 1
    return sum(math.comb(n, k) for k in range(a + 1)) / (1 << n)


def decided(weights: Sequence[float], outstanding: float, *, swing: float, confidence: float) -> bool:
    """True when drawing on is not worth it: nothing outstanding could change the winner, or the leader's posterior reaches `confidence`.

    `swing` is what verdicts could still take from the lead. A `confidence` of 1 leaves the first rule alone.
    """
    if settled(weights, outstanding + swing):
        return True
    ranked = sorted(weights, reverse=True)
    return bool(ranked) and beta_lead(ranked[0] - swing, ranked[1] if len(ranked) > 1 else 0.0) >= confidence


def llr(calibration: Calibration, verdict: Verdict) -> float:
    """Log-likelihood ratio of a verdict, in votes: log P(verdict | correct) / P(verdict | incorrect).

    The rates are those beside the votes (`Calibration.told`), Laplace-smoothed by the number of responses they were measured on, and the
    ratio is clipped to +-MAX_LLR. A critic that is always wrong is as informative as one that is always right; one that guesses, or
    abstains, moves nothing.
    """
    if verdict is Verdict.ABSTAIN:
        return 0.0
    tpr, fpr = _smoothed(calibration)
    ratio = math.log(tpr / fpr) if verdict is Verdict.CORRECT else math.log((1.0 - tpr) / (1.0 - fpr))
    return max(-MAX_LLR, min(MAX_LLR, ratio))


def _smoothed(calibration: Calibration) -> tuple[float, float]:
    tpr, fpr, n = calibration.told
    half = n / 2.0
    return (tpr * half + 1.0) / (half + 2.0), (fpr * half + 1.0) / (half + 2.0)


def evidence(calibration: Calibration, verdicts: Sequence[tuple[int, Verdict]]) -> float:
    """What several verdicts on one answer weigh together, in votes. Each comes with the response that it is on.

    Critiques of one response repeat each other, and so do critiques of responses that give the same answer. n verdicts with a mean
    correlation rho are worth n / (1 + (n - 1) rho) independent ones (Kish's design effect): the sum of their ratios shrinks by that. At a
    correlation of 1 it is their mean, at 0 their sum. However many there are, they count for at most MAX_LLR.
    """
    said = [(response, llr(calibration, verdict)) for response, verdict in verdicts if verdict is not Verdict.ABSTAIN]
    if not said:
        return 0.0
    n = len(said)
    same = sum(count * (count - 1) for count in Counter(response for response, _ in said).values())
    other = n * (n - 1) - same
    inflation = 1.0 + (same * calibration.rho_response + other * calibration.rho_answer) / n
    return max(-MAX_LLR, min(MAX_LLR, math.fsum(ratio for _, ratio in said) / inflation))


def swing(calibration: Calibration | None) -> float:
    """The largest change of a lead that verdicts can make: the leader judged one way and its rival the other."""
    if calibration is None:
        return 0.0
    most, least = (evidence(calibration, [(0, verdict)] * calibration.critiques) for verdict in (Verdict.CORRECT, Verdict.INCORRECT))
    return abs(most - least)


def pays(calibration: Calibration | None) -> bool:
    """Whether a critic is worth asking: it was measured, and is above the break-even by more than the measurement's standard error."""
    return calibration is not None and calibration.balanced_accuracy - uncertainty(calibration) > INFORMED


def uncertainty(calibration: Calibration) -> float:
    """The standard error of the balanced accuracy, as if half of the responses were right."""
    tpr, fpr = _smoothed(calibration)
    return math.sqrt((tpr * (1.0 - tpr) + fpr * (1.0 - fpr)) / (2.0 * calibration.told[2]))
