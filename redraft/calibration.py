"""A critic's calibration, from its beliefs on responses whose truth is known. Pure functions; asks no engine.

A belief is the critic's P(correct). The threshold that turns it into a verdict is the one with the best balanced accuracy on the same
responses, so its rates would flatter it: they are measured crosswise, each half of the responses by the threshold of the other half.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redraft import vote
from redraft.types import Calibration

SCHEMA = 1
FILE = "calibration.json"
"""Its name inside an adapter's folder."""
BINS = 10
Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Judged:
    """One response: what the critic believed (None: it abstained), and what is true."""

    p_correct: float | None
    correct: bool


@dataclass(frozen=True, slots=True)
class Bin:
    """One tenth of the reliability curve: mean belief, share that was correct, and how many responses that is."""

    belief: float
    correct: float
    n: int


@dataclass(frozen=True, slots=True)
class Report:
    """The calibration, and how good it is. Intervals are Wilson's at 95 %."""

    calibration: Calibration
    tpr_interval: tuple[float, float]
    fpr_interval: tuple[float, float]
    balanced_accuracy: float
    abstained: int
    brier: float
    reliability: tuple[Bin, ...]
    break_even: float
    """The balanced accuracy over which the critic's revisions may vote."""

    @property
    def pays(self) -> bool:
        """Whether the loop lets this critic's revisions vote."""
        return self.balanced_accuracy > self.break_even

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self), "pays": self.pays}


def fit(judged: Sequence[Judged]) -> Report:
    """Measure a critic. Raises ValueError unless both right and wrong responses were judged, at least two of each."""
    said = [(j.p_correct, j.correct) for j in judged if j.p_correct is not None]
    rights, wrongs = sum(correct for _, correct in said), sum(not correct for _, correct in said)
    if rights < 2 or wrongs < 2:
        raise ValueError(f"at least two right and two wrong responses must be judged, there are {rights} right and {wrongs} wrong ones")
    halves = _halves(said)
    passed = [(p >= threshold(other), correct) for half, other in zip(halves, reversed(halves), strict=True) for p, correct in half]
    true_positives = sum(says for says, correct in passed if correct)
    false_positives = sum(says for says, correct in passed if not correct)
    tpr, fpr = true_positives / rights, false_positives / wrongs
    return Report(
        calibration=Calibration(tpr, fpr, len(said), threshold(said)),
        tpr_interval=wilson(true_positives, rights),
        fpr_interval=wilson(false_positives, wrongs),
        balanced_accuracy=(tpr + 1 - fpr) / 2,
        abstained=len(judged) - len(said),
        brier=sum((p - correct) ** 2 for p, correct in said) / len(said),
        reliability=_reliability(said),
        break_even=vote.INFORMED,
    )


def from_json(found: object) -> Calibration:
    """The calibration of a report's JSON. Raises ValueError for anything else."""
    if not isinstance(found, Mapping) or found.get("schema") != SCHEMA or not isinstance(found.get("calibration"), Mapping):
        raise ValueError(f"expected a calibration of schema {SCHEMA}")
    rates = found["calibration"]
    try:
        made = Calibration(float(rates["tpr"]), float(rates["fpr"]), int(rates["n"]), float(rates["threshold"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected calibration.tpr, fpr, n and threshold ({error})") from error
    if not (0 <= made.tpr <= 1 and 0 <= made.fpr <= 1 and 0 <= made.threshold <= 1 and made.n > 0):
        raise ValueError(f"calibration out of range: {rates}")
    return made


def threshold(said: Sequence[tuple[float, bool]]) -> float:
    """The belief from which a response is best called correct: the middle of the widest gap among the best; .5 where nothing is better."""
    ranked = sorted(said)
    rights, wrongs = sum(c for _, c in ranked), sum(not c for _, c in ranked)
    if not rights or not wrongs:
        return 0.5

    def youden(cut: float) -> float:
        return sum(p >= cut for p, c in ranked if c) / rights - sum(p >= cut for p, c in ranked if not c) / wrongs

    beliefs = sorted({p for p, _ in ranked})
    cuts = [(a + b) / 2 for a, b in itertools.pairwise(beliefs)]
    gaps = {(a + b) / 2: b - a for a, b in itertools.pairwise(beliefs)}
    scores = {cut: youden(cut) for cut in cuts}
    best = max(scores.values(), default=-1.0)
    if best <= youden(0.5):
        return 0.5
    return max((cut for cut in cuts if scores[cut] == best), key=lambda cut: (gaps[cut], -abs(cut - 0.5)))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's score interval at 95 %."""
    centre = (hits + Z95**2 / 2) / (n + Z95**2)
    half = Z95 / (n + Z95**2) * math.sqrt(hits * (n - hits) / n + Z95**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def _halves(said: Sequence[tuple[float, bool]]) -> tuple[list[tuple[float, bool]], list[tuple[float, bool]]]:
    """Two halves with as many right and as many wrong responses each, in the order in which they came."""
    first: list[tuple[float, bool]] = []
    second: list[tuple[float, bool]] = []
    for kind in (True, False):
        for position, pair in enumerate(pair for pair in said if pair[1] is kind):
            (second if position % 2 else first).append(pair)
    return first, second


def _reliability(said: Sequence[tuple[float, bool]]) -> tuple[Bin, ...]:
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for p, correct in said:
        bins[min(int(p * BINS), BINS - 1)].append((p, correct))
    return tuple(Bin(sum(p for p, _ in b) / len(b), sum(c for _, c in b) / len(b), len(b)) for b in bins if b)
