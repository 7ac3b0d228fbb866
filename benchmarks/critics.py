"""Numbers for critics and solvers measured with several seeds on the same problems. Pure; intervals know which rows belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evalsuite import stats
from evalsuite.measures import Judgement, critic
from redraft.types import Verdict

RESAMPLES = 2000
CONFIDENCE = 0.95
RATES = ("responses", "abstained", "tpr", "tnr", "brier", "auroc")


@dataclass(frozen=True, slots=True)
class Judged:
    """A critic's word on one response."""

    problem: str
    correct: bool
    verdict: str
    p_correct: float | None


@dataclass(frozen=True, slots=True)
class Balanced:
    """One run of a critic. Rates are over the verdicts that were given; `strict` counts an abstention as a miss."""

    balanced_accuracy: stats.Interval | None
    strict: float | None
    told: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        interval = None if self.balanced_accuracy is None else asdict(self.balanced_accuracy)
        return {**self.told, "balanced_accuracy": interval, "balanced_accuracy_strict": self.strict}


def balanced(judged: Sequence[Judged], *, seed: int = 0) -> Balanced:
    """Balanced accuracy with a bootstrap interval over problems, and evalsuite's measures of the same judgements."""
    told = critic([Judgement(one.problem, one.correct, Verdict(one.verdict), one.p_correct) for one in judged])
    counts = _counts(judged)
    return Balanced(_bootstrap(counts, seed), _strict(judged), {key: told[key] for key in RATES})


def pooled(runs: Sequence[Sequence[Judged]]) -> dict[str, Any]:
    """All seeds together: the judgements of one problem, whichever seed they are of, are one cluster."""
    everything = [one for run in runs for one in run]
    found = balanced(everything).as_json()
    sides = {"tpr": (True, Verdict.CORRECT), "tnr": (False, Verdict.INCORRECT)}
    for name, (correct, verdict) in sides.items():
        clusters: dict[str, list[bool]] = defaultdict(list)
        for one in everything:
            if one.correct is correct and one.verdict != Verdict.ABSTAIN:
                clusters[one.problem].append(one.verdict == verdict)
        interval = stats.clustered_ratio([(sum(hits), len(hits)) for hits in clusters.values()])
        found[name] = None if interval is None else asdict(interval)
    return found


def _strict(judged: Sequence[Judged]) -> float | None:
    sides = [[one for one in judged if one.correct is correct] for correct in (True, False)]
    if not all(sides):
        return None
    hits = [sum(one.verdict == (Verdict.CORRECT if one.correct else Verdict.INCORRECT) for one in side) / len(side) for side in sides]
    return sum(hits) / 2


def _counts(judged: Sequence[Judged]) -> np.ndarray:
    """For each problem: hits and verdicts on right responses, hits and verdicts on wrong ones."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for one in judged:
        if one.verdict != Verdict.ABSTAIN:
            at = 0 if one.correct else 2
            rows[one.problem][at] += one.verdict == (Verdict.CORRECT if one.correct else Verdict.INCORRECT)
            rows[one.problem][at + 1] += 1
    return np.array(list(rows.values()), dtype=float).reshape(-1, 4)


def _bootstrap(counts: np.ndarray, seed: int) -> stats.Interval | None:
    """The mean of both rates; resamples that lost one side altogether are drawn again."""
    value = _value(counts)
    if value is None:
        return None
    rng = np.random.default_rng(seed)
    drawn: list[float] = []
    while len(drawn) < RESAMPLES:
        found = _value(counts[rng.integers(0, len(counts), len(counts))])
        if found is not None:
            drawn.append(found)
    low, high = np.quantile(drawn, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return stats.Interval(value, float(low), float(high), len(counts), "bootstrap by problem", CONFIDENCE)


def _value(counts: np.ndarray) -> float | None:
    right_hits, rights, wrong_hits, wrongs = counts.sum(axis=0)
    return float((right_hits / rights + wrong_hits / wrongs) / 2) if rights and wrongs else None


def solver(runs: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Direct answers of all seeds: accuracy, how many are well-formed, and accuracy among those; clustered by problem."""
    rows = [row for run in runs for row in run]
    formed = [row for row in rows if row["well_formed"]]
    return {
        "accuracy": _share(rows, "right"),
        "well_formed": _share(rows, "well_formed"),
        "given_well_formed": _share(formed, "right"),
        "tokens_per_answer": sum(row["tokens"] for row in rows) / len(rows) if rows else None,
    }


def _share(rows: Sequence[dict[str, Any]], field: str) -> dict[str, Any] | None:
    clusters: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        clusters[row["problem"]].append(bool(row[field]))
    interval = stats.clustered_ratio([(sum(hits), len(hits)) for hits in clusters.values()])
    return None if interval is None else asdict(interval)
