"""A critic's calibration, from its beliefs on responses whose truth is known. Pure functions; asks no engine.

A belief is the critic's P(correct). The threshold that turns it into a verdict is the one with the best balanced accuracy on the same
responses, so its rates would flatter it: they are measured crosswise, each half of the responses by the threshold of the other half.
How much several verdicts on one answer repeat each other is in `redraft.correlation`, how right and wrong answers are compared at equal
votes in `redraft.matching`. A critic may be measured in several forms (one long critique, several short ones); `choose` says which pays.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from redraft import correlation, matching, vote
from redraft.correlation import Said
from redraft.types import Calibration, Verdict

SCHEMA = 1
"""A reader takes any file of this schema: fields that an older one lacks have the defaults of `Calibration`."""
FILE = "calibration.json"
"""Its name inside an adapter's folder."""
BINS = 10
RESOLUTION = 2
"""Decimals of a belief that are told apart: what else is computed beside a critique moves its belief by as much as a hundredth."""
Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Judged:
    """One critique: what the critic believed (None: it abstained), and what is true.

    Critiques with one `response` judge the same response, those with one `answer` responses that give the same answer to the same problem;
    without a name, each stands for itself. `votes` is how many responses to its problem give this answer.
    """

    p_correct: float | None
    correct: bool
    response: str | None = None
    answer: str | None = None
    votes: int = 1


@dataclass(frozen=True, slots=True)
class Form:
    """How a critic is asked: `critiques` of one response, each at most `max_tokens` long (None: as long as the loop lets it)."""

    critiques: int = 1
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """One tenth of the reliability curve: mean belief, share that was correct, and how many responses that is."""

    belief: float
    correct: float
    n: int


@dataclass(frozen=True, slots=True)
class Report:
    """The calibration, and how good it is. Intervals are Wilson's at 95 %, of the rates over all responses."""

    calibration: Calibration
    tpr_interval: tuple[float, float]
    fpr_interval: tuple[float, float]
    balanced_accuracy: float
    """Of a judgement (of one critique, or of all critiques of a response together), at equal votes."""
    balanced_accuracy_error: float
    """Its standard error."""
    abstained: int
    brier: float
    reliability: tuple[Bin, ...]
    break_even: float
    """The balanced accuracy above which the loop asks this critic."""
    tokens: float | None = None
    """Generated tokens of one judgement, in the mean."""

    @property
    def pays(self) -> bool:
        """Whether the loop asks this critic and lets its word vote."""
        return vote.pays(self.calibration)

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self), "pays": self.pays}


@dataclass(frozen=True, slots=True)
class _Share:
    """Of responses of one kind, what share was called correct; `n` is how many they are worth."""

    value: float
    n: float

    @property
    def variance(self) -> float:
        return self.value * (1 - self.value) / self.n


def fit(judged: Sequence[Judged], form: Form = Form(), *, tokens: float | None = None) -> Report:
    """Measure a critic in one form. Raises ValueError unless right and wrong responses were judged, at least two of each kind, and with
    equally many votes."""
    named = [j if j.response is not None else replace(j, response=f"#{k}") for k, j in enumerate(judged)]
    heard = [j for j in named if j.p_correct is not None]
    rights, wrongs = (len({j.response for j in heard if j.correct is kind}) for kind in (True, False))
    if rights < 2 or wrongs < 2:
        raise ValueError(f"at least two right and two wrong responses must be judged, there are {rights} right and {wrongs} wrong ones")
    weights = matching.weights([(j.votes, j.correct) for j in heard])
    if any(len({j.response for j, w in zip(heard, weights, strict=True) if w and j.correct is kind}) < 2 for kind in (True, False)):
        raise ValueError("fewer than two right and two wrong answers have equally many votes: judge responses to more problems")
    said = _crosswise(heard, weights)
    tpr, fpr = (_share([(s.says, 1.0) for s in said if s.correct is kind]) for kind in (True, False))
    beliefs = [(j.p_correct, j.correct) for j in heard if j.p_correct is not None]
    calibration = Calibration(
        tpr.value,
        fpr.value,
        rights + wrongs,
        threshold(beliefs, weights),
        rho_response=correlation.of_responses(said),
        rho_answer=correlation.of_answers(said),
        critiques=form.critiques,
        critique_tokens=form.max_tokens,
    )
    if len({j.votes for j in heard}) > 1:
        calibration = _matched(calibration, said)
    whole_tpr, whole_fpr = (_share(_pooled(said, calibration, correct=kind)) for kind in (True, False))
    accuracy = (whole_tpr.value + 1 - whole_fpr.value) / 2
    return Report(
        calibration=calibration if form.critiques == 1 else replace(calibration, pooled_accuracy=accuracy),
        tpr_interval=wilson(tpr.value * tpr.n, tpr.n),
        fpr_interval=wilson(fpr.value * fpr.n, fpr.n),
        balanced_accuracy=accuracy,
        balanced_accuracy_error=math.sqrt(whole_tpr.variance + whole_fpr.variance) / 2,
        abstained=len(judged) - len(heard),
        brier=sum((p - correct) ** 2 for p, correct in beliefs) / len(beliefs),
        reliability=_reliability(beliefs),
        break_even=vote.INFORMED,
        tokens=tokens,
    )


def choose(reports: Sequence[Report]) -> Report:
    """The form that pays: of those whose balanced accuracy is within one standard error of the best, the one with the fewest tokens."""
    best = max(reports, key=lambda report: report.balanced_accuracy)
    near = [report for report in reports if report.balanced_accuracy >= best.balanced_accuracy - best.balanced_accuracy_error]
    return min(near, key=lambda report: (report.tokens if report.tokens is not None else math.inf, -report.balanced_accuracy))


def from_json(found: object) -> Calibration:
    """The calibration of a report's JSON. Raises ValueError for anything else."""
    if not isinstance(found, Mapping) or found.get("schema") != SCHEMA or not isinstance(found.get("calibration"), Mapping):
        raise ValueError(f"expected a calibration of schema {SCHEMA}")
    rates = found["calibration"]
    try:
        made = Calibration(
            float(rates["tpr"]),
            float(rates["fpr"]),
            int(rates["n"]),
            float(rates["threshold"]),
            rho_response=float(rates.get("rho_response", 1.0)),
            rho_answer=float(rates.get("rho_answer", 1.0)),
            critiques=int(rates.get("critiques", 1)),
            critique_tokens=None if rates.get("critique_tokens") is None else int(rates["critique_tokens"]),
            pooled_accuracy=None if rates.get("pooled_accuracy") is None else float(rates["pooled_accuracy"]),
            matched_tpr=None if rates.get("matched_tpr") is None else float(rates["matched_tpr"]),
            matched_fpr=None if rates.get("matched_fpr") is None else float(rates["matched_fpr"]),
            matched_n=None if rates.get("matched_n") is None else int(rates["matched_n"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected calibration.tpr, fpr, n and threshold ({error})") from error
    shares = (made.tpr, made.fpr, made.threshold, made.rho_response, made.rho_answer, made.balanced_accuracy, *made.told[:2])
    if not (all(0 <= share <= 1 for share in shares) and made.n > 0 and made.told[2] > 0 and made.critiques > 0):
        raise ValueError(f"calibration out of range: {rates}")
    return made


def _share(says: Sequence[tuple[bool, float]]) -> _Share:
    """Of verdicts and their weights; not all are 0."""
    weights = [weight for _, weight in says]
    return _Share(sum(weight for hit, weight in says if hit) / sum(weights), matching.size(weights))


def _matched(calibration: Calibration, said: Sequence[Said]) -> Calibration:
    """With the rates at equal votes, and the size of an even sample that would tell as much."""
    tpr, fpr = (_share([(s.says, s.weight) for s in said if s.correct is kind]) for kind in (True, False))
    n = 4.0 / (1.0 / tpr.n + 1.0 / fpr.n) / calibration.critiques
    return replace(calibration, matched_tpr=tpr.value, matched_fpr=fpr.value, matched_n=max(1, round(n)))


def _crosswise(heard: Sequence[Judged], weights: Sequence[float]) -> list[Said]:
    """Verdicts, those of each half by the threshold of the other."""
    halves = _halves(heard, weights)
    cuts = [threshold([(j.p_correct or 0.0, j.correct) for j, _ in half], [w for _, w in half]) for half in reversed(halves)]
    return [
        Said((j.p_correct or 0.0) >= cut, j.correct, j.response or "", j.answer or j.response or "", weight)
        for half, cut in zip(halves, cuts, strict=True)
        for j, weight in half
    ]


def _halves(heard: Sequence[Judged], weights: Sequence[float]) -> tuple[list[tuple[Judged, float]], list[tuple[Judged, float]]]:
    """Two halves with as many right and as many wrong responses each, in the order in which they came; no response is in both."""
    places: dict[bool, dict[str | None, int]] = {True: {}, False: {}}
    halves: tuple[list[tuple[Judged, float]], list[tuple[Judged, float]]] = ([], [])
    for j, weight in zip(heard, weights, strict=True):
        known = places[j.correct]
        halves[known.setdefault(j.response, len(known)) % 2].append((j, weight))
    return halves


def _pooled(said: Sequence[Said], calibration: Calibration, *, correct: bool) -> list[tuple[bool, float]]:
    """For each response of a kind, whether its critiques together call it correct, as the loop weighs them, and its weight."""
    by_response: dict[str, list[tuple[int, Verdict]]] = defaultdict(list)
    weights: dict[str, float] = {}
    for s in said:
        if s.correct is correct:
            by_response[s.response].append((0, Verdict.CORRECT if s.says else Verdict.INCORRECT))
            weights[s.response] = s.weight
    if calibration.critiques == 1:
        return [(verdict is Verdict.CORRECT, weights[name]) for name, verdicts in by_response.items() for _, verdict in verdicts]
    return [(vote.evidence(calibration, verdicts) >= 0, weights[name]) for name, verdicts in by_response.items()]


def threshold(said: Sequence[tuple[float, bool]], weights: Sequence[float] | None = None) -> float:
    """The belief from which a response is best called correct: the middle of the widest gap among the best; .5 where nothing is better.
    `weights` (none: all alike) say how much each response counts.

    It never parts beliefs that differ by less than can be told apart: a critic that is sure of everything it calls right is not read by
    the fourth decimal.
    """
    each = [1.0] * len(said) if weights is None else weights
    ranked = [(round(p, RESOLUTION), correct, weight) for (p, correct), weight in zip(said, each, strict=True)]
    rights, wrongs = (math.fsum(w for _, c, w in ranked if c is kind) for kind in (True, False))
    if not rights or not wrongs:
        return 0.5

    def youden(cut: float) -> float:
        hits, slips = (math.fsum(w for p, c, w in ranked if c is kind and p >= cut) for kind in (True, False))
        return hits / rights - slips / wrongs

    beliefs = sorted({p for p, _, _ in ranked})
    cuts = [(a + b) / 2 for a, b in itertools.pairwise(beliefs)]
    gaps = {(a + b) / 2: b - a for a, b in itertools.pairwise(beliefs)}
    scores = {cut: youden(cut) for cut in cuts}
    best = max(scores.values(), default=-1.0)
    if best <= youden(0.5):
        return 0.5
    return max((cut for cut in cuts if scores[cut] == best), key=lambda cut: (gaps[cut], -abs(cut - 0.5)))


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Wilson's score interval at 95 %."""
    centre = (hits + Z95**2 / 2) / (n + Z95**2)
    half = Z95 / (n + Z95**2) * math.sqrt(hits * (n - hits) / n + Z95**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def _reliability(said: Sequence[tuple[float, bool]]) -> tuple[Bin, ...]:
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for p, correct in said:
        bins[min(int(p * BINS), BINS - 1)].append((p, correct))
    return tuple(Bin(sum(p for p, _ in b) / len(b), sum(c for _, c in b) / len(b), len(b)) for b in bins if b)
