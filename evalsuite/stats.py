"""Statistics of evaluation, as pure functions of numbers. Knows neither tasks nor records."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

SUBSETS = 1000
RESAMPLES = 10_000
TABLE_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and where the true value lies with the given confidence."""

    value: float
    low: float
    high: float
    n: int
    """Problems that were counted."""
    method: str
    confidence: float = 0.95


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Wilson's score interval for a proportion; None when nothing was counted."""
    if n == 0:
        return None
    low, high = _wilson_bounds(successes / n, n, confidence)
    return Interval(successes / n, low, high, n, "wilson", confidence)


def clustered(shares: Sequence[float], responses: int, confidence: float = 0.95) -> Interval | None:
    """An interval for the mean of per-problem shares that were measured with `responses` responses in all.

    Responses to one problem are alike, so they count for less than their number: Wilson's interval is taken at the effective size
    p (1 - p) / Var(mean), where the variance is that between problems. It lies between the number of problems and of responses.
    """
    n = len(shares)
    if n == 0:
        return None
    p = math.fsum(shares) / n
    variance = math.fsum((share - p) ** 2 for share in shares) / max(n - 1, 1) / n
    return _at_effective_size(p, variance, n, responses, confidence)


def clustered_ratio(clusters: Sequence[tuple[float, int]], confidence: float = 0.95) -> Interval | None:
    """The same for `(hits, size)` clusters of different sizes: the pooled share, with the linearised variance of a ratio."""
    responses = sum(size for _, size in clusters)
    if not responses:
        return None
    m = len(clusters)
    p = math.fsum(hits for hits, _ in clusters) / responses
    variance = math.fsum((hits - p * size) ** 2 for hits, size in clusters) * m / max(m - 1, 1) / responses**2
    return _at_effective_size(p, variance, m, responses, confidence)


def _at_effective_size(p: float, variance: float, clusters: int, responses: int, confidence: float) -> Interval:
    size = min(max(p * (1 - p) / variance, clusters), max(responses, clusters)) if variance > 0 else clusters
    low, high = _wilson_bounds(p, size, confidence)
    return Interval(p, low, high, clusters, "wilson, clustered by problem", confidence)


def _wilson_bounds(p: float, n: float, confidence: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if p == 0 else centre - half), (1.0 if p == 1 else centre + half)


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p of McNemar's test: how likely so uneven a split of the discordant pairs is when neither is better."""
    n = only_a + only_b
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1))
    return min(1.0, float(2 * tail / 2**n))


def paired_bootstrap(a: Sequence[float], b: Sequence[float], *, seed: int = 0, confidence: float = 0.95) -> Interval:
    """The mean of `b - a` over problems, with a percentile interval from resampling problems (both scores of one together)."""
    import numpy as np

    differences = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        means[i] = differences[rng.integers(0, len(differences), len(differences))].mean()
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(differences.mean()), float(low), float(high), len(differences), "paired bootstrap by problem", confidence)


def bootstrap(
    rows: Sequence[Sequence[float]], measure: Callable[[Sequence[float]], float], *, seed: int = 0, confidence: float = 0.95
) -> Interval:
    """A number that is computed from the sums of the rows' columns, one row a problem, with a percentile interval from resampling rows."""
    import numpy as np

    table = np.asarray(rows, dtype=float)
    values = [measure(sums) for sums in _resamples(len(rows), seed) @ table]
    return _percentile_interval(measure(table.sum(axis=0)), values, len(rows), "bootstrap by problem", confidence)


def paired_difference(
    a: Sequence[Sequence[float]],
    b: Sequence[Sequence[float]],
    measure: Callable[[Sequence[float]], float],
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """The same number of `b` minus that of `a`, both rows of a problem being resampled together."""
    import numpy as np

    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    drawn = _resamples(len(a), seed)
    values = [measure(y) - measure(x) for x, y in zip(drawn @ first, drawn @ second, strict=True)]
    value = measure(second.sum(axis=0)) - measure(first.sum(axis=0))
    return _percentile_interval(value, values, len(a), "paired bootstrap by problem", confidence)


def _resamples(n: int, seed: int) -> Any:
    """How often each of n rows is in each of TABLE_RESAMPLES samples of n with replacement."""
    import numpy as np

    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=TABLE_RESAMPLES)


def _percentile_interval(value: float, values: Sequence[float], n: int, method: str, confidence: float) -> Interval:
    low, high = (percentile(values, 100 * (0.5 + sign * confidence / 2)) for sign in (-1, 1))
    return Interval(value, low, high, n, method, confidence)


def pass_at(k: int, right: int, n: int) -> float:
    """The unbiased estimate, from n responses of which `right` are right, that at least one of k is."""
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} responses, there are {n}")
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


def majority_at(k: int, groups: Sequence[Sequence[int]], right: Callable[[int], bool], n: int, *, seed: int = 0) -> float:
    """The estimate, from n responses grouped by equal answers, that the majority of k of them is right.

    The mean over all k-subsets, or over SUBSETS seeded ones where there are more. Within a subset the largest group wins, ties going to
    the one with the earliest member; a response in no group does not vote.
    """
    if not 1 <= k <= n:
        raise ValueError(f"maj@{k} needs at least {k} responses, there are {n}")
    if not any(right(member) for group in groups for member in group):
        return 0.0
    group_of = {member: position for position, group in enumerate(groups) for member in group}
    if math.comb(n, k) <= SUBSETS:
        subsets = list(combinations(range(n), k))
    else:
        rng = random.Random(seed)
        subsets = [tuple(sorted(rng.sample(range(n), k))) for _ in range(SUBSETS)]
    return sum(_majority_is_right(subset, group_of, right) for subset in subsets) / len(subsets)


def _majority_is_right(subset: Sequence[int], group_of: dict[int, int], right: Callable[[int], bool]) -> bool:
    votes: dict[int, list[int]] = {}
    for member in subset:
        if member in group_of:
            votes.setdefault(group_of[member], []).append(member)
    if not votes:
        return False
    largest = max(votes.values(), key=lambda members: (len(members), -members[0]))
    return right(largest[0])


def brier(probabilities: Sequence[float], truths: Sequence[bool]) -> float | None:
    """The mean squared error of probabilities; None when there are none."""
    if not probabilities:
        return None
    return math.fsum((p - truth) ** 2 for p, truth in zip(probabilities, truths, strict=True)) / len(probabilities)


def auroc(scores: Sequence[float], truths: Sequence[bool]) -> float | None:
    """The chance that a true case has a higher score than a false one, ties counting half; None without cases of both kinds."""
    ranked = sorted(zip(scores, truths, strict=True))
    positive = sum(truths)
    negative = len(truths) - positive
    if not positive or not negative:
        return None
    wins, i = 0.0, 0
    below = 0
    while i < len(ranked):
        j = i
        while j < len(ranked) and ranked[j][0] == ranked[i][0]:
            j += 1
        tied_true = sum(truth for _, truth in ranked[i:j])
        tied_false = j - i - tied_true
        wins += tied_true * (below + tied_false / 2)
        below += tied_false
        i = j
    return wins / (positive * negative)


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile (0..100) by linear interpolation between order statistics."""
    ranked = sorted(values)
    place = (len(ranked) - 1) * q / 100
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (place - below)


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Mean, p50, p90, p95, p99 and maximum; None when there are no values."""
    if not values:
        return None
    named = {f"p{q}": percentile(values, q) for q in (50, 90, 95, 99)}
    return {"n": len(values), "mean": math.fsum(values) / len(values), **named, "max": max(values)}


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """The length of the union of intervals: the time during which at least one was going on."""
    total, until = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
