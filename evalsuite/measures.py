"""What graded samples say beyond the headline: avg@k, pass@k and maj@k; a critic's quality; what a loop's stages did. Pure."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evalsuite import stats
from evalsuite.ask import drafts_of
from evalsuite.grade import Outcome
from redraft import matching
from redraft.records import Record
from redraft.types import Stage, Verdict

BINS = 10


def is_right(mark: Record) -> bool:
    return bool(mark["outcome"] == Outcome.RIGHT)


def share_right(grade: Record) -> float:
    """The share of a sample's responses that are right."""
    marks = grade["marks"]
    return sum(map(is_right, marks)) / len(marks)


def majority_share(grade: Record, k: int) -> float:
    """The estimated chance that the majority of k of a sample's responses is right."""
    marks = grade["marks"]
    return stats.majority_at(k, grade["groups"], lambda i: is_right(marks[i]), len(marks))


def at_k(grades: Sequence[Record], n: int) -> dict[str, Any]:
    """avg@n, and pass@k and maj@k for k = 1, 2, 4 ... and n, all from the same n responses a problem."""
    ks = sorted({2**i for i in range(n.bit_length()) if 2**i <= n} | {n})

    def interval(shares: list[float]) -> dict[str, Any] | None:
        found = stats.clustered(shares, len(shares) * n)
        return None if found is None else asdict(found)

    right = [sum(map(is_right, grade["marks"])) for grade in grades]
    return {
        f"avg@{n}": interval([count / n for count in right]),
        **{f"pass@{k}": interval([stats.pass_at(k, count, n) for count in right]) for k in ks},
        **{f"maj@{k}": interval([majority_share(grade, k) for grade in grades]) for k in ks},
    }


@dataclass(frozen=True, slots=True)
class Judgement:
    """A critic's word on one response whose truth is known."""

    problem: str
    correct: bool
    verdict: Verdict
    p_correct: float | None


def critic(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """How far a critic can be trusted.

    Accuracy counts an abstention as a miss. The rates are over the verdicts that were given: `tpr` is P(says correct | correct), `tnr` is
    P(says incorrect | incorrect). Brier score, AUROC and the bins of the calibration plot are those of `p_correct`, where there is one.
    `calibration` is the form in which the server's `calibrations` setting takes the rates.
    """
    given = [j for j in judgements if j.verdict is not Verdict.ABSTAIN]
    tpr = _rate(given, correct=True)
    tnr = _rate(given, correct=False)
    scored = [(j.p_correct, j.correct) for j in judgements if j.p_correct is not None]
    return {
        "responses": len(judgements),
        "correct_responses": sum(j.correct for j in judgements),
        "abstained": len(judgements) - len(given),
        "accuracy": _by_problem(judgements),
        "balanced_accuracy": None if tpr is None or tnr is None else (tpr + tnr) / 2,
        "tpr": tpr,
        "tnr": tnr,
        "brier": stats.brier([p for p, _ in scored], [truth for _, truth in scored]),
        "auroc": stats.auroc([p for p, _ in scored], [truth for _, truth in scored]),
        "bins": _bins(scored),
        "calibration": None if tpr is None or tnr is None else {"tpr": tpr, "fpr": 1 - tnr, "n": len(given)},
    }


def _agrees(judgement: Judgement) -> bool:
    return judgement.verdict is (Verdict.CORRECT if judgement.correct else Verdict.INCORRECT)


def _rate(given: Iterable[Judgement], *, correct: bool) -> float | None:
    hits = [_agrees(j) for j in given if j.correct is correct]
    return sum(hits) / len(hits) if hits else None


def _by_problem(judgements: Sequence[Judgement]) -> dict[str, Any] | None:
    """The share of verdicts that match, with an interval that knows which responses belong to one problem."""
    if not judgements:
        return None
    hits: dict[str, list[bool]] = defaultdict(list)
    for judgement in judgements:
        hits[judgement.problem].append(_agrees(judgement))
    interval = stats.clustered_ratio([(sum(found), len(found)) for found in hits.values()])
    return None if interval is None else asdict(interval)


def _bins(scored: Sequence[tuple[float, bool]]) -> list[dict[str, float]]:
    """The calibration plot: in each tenth of `p_correct`, its mean and the share that was correct."""
    found: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for p, truth in scored:
        found[min(int(p * BINS), BINS - 1)].append((p, truth))
    return [
        {"p_mean": sum(p for p, _ in pairs) / len(pairs), "correct": sum(t for _, t in pairs) / len(pairs), "n": len(pairs)}
        for _, pairs in sorted(found.items())
    ]


def loop(samples: Sequence[Record], grades: Sequence[Record]) -> dict[str, Any]:
    """What a loop's stages did to the answers: why loops ended, how the critic judged, and what revision and voting turned into what."""
    stops: Counter[str] = Counter()
    revised: Counter[str] = Counter()
    settled: Counter[str] = Counter()
    judgements: list[Judgement] = []
    votes: list[int] = []
    by_stage: dict[str, Counter[str]] = {}
    for sample, grade in zip(samples, grades, strict=True):
        detail = sample["detail"] or {}
        stops[str((detail.get("outcome") or {}).get("stop"))] += 1
        truth = {step.get("index"): is_right(mark) for step, mark in zip(drafts_of(detail), grade["marks"], strict=True)}
        supported = _votes(detail)
        for step in detail.get("transcript") or []:
            by_stage.setdefault(step["stage"], Counter())["steps"] += 1
            if step["stage"] == Stage.REVISE and step.get("parent") in truth:
                revised[_transition(truth[step["parent"]], truth[step["index"]])] += 1
            if step["stage"] == Stage.CRITIQUE and step.get("draft") in truth:
                judgements.append(Judgement(sample["id"], truth[step["draft"]], Verdict(step["verdict"]), step.get("p_correct")))
                votes.append(supported.get(step["draft"], 0))
        if truth:
            settled[_transition(next(iter(truth.values())), is_right(grade["final"]))] += 1
    return {
        "stops": dict(stops),
        "steps": {stage: counts["steps"] for stage, counts in by_stage.items()},
        "first_draft_to_final": dict(settled),
        "draft_to_revision": dict(revised),
        "critic": critic(judgements) if judgements else None,
        "critic_at_equal_votes": _at_equal_votes(judgements, votes),
    }


def _votes(detail: Record) -> dict[int, int]:
    """For each draft that has an answer, how many drafts gave that answer before the critic spoke."""
    transcript = detail.get("transcript") or []
    before = {step["index"] for step in itertools.takewhile(lambda step: step["stage"] != Stage.CRITIQUE, transcript)}
    groups = [before & set(candidate["members"]) for candidate in (detail.get("outcome") or {}).get("candidates") or []]
    return {index: len(group) for group in groups for index in group}


def _at_equal_votes(judgements: Sequence[Judgement], votes: Sequence[int]) -> dict[str, float] | None:
    """The rates between right and wrong answers with equally many votes (`redraft.matching`): what verdicts told that votes did not.
    None where no right answer had as many votes as a wrong one."""
    given = [(v, j) for v, j in zip(votes, judgements, strict=True) if j.verdict is not Verdict.ABSTAIN]
    weights = matching.weights([(v, j.correct) for v, j in given])
    whole = sum(weights) / 2
    if not whole:
        return None
    said = [(weight, j.correct) for weight, (_, j) in zip(weights, given, strict=True) if j.verdict is Verdict.CORRECT]
    tpr, fpr = (sum(weight for weight, correct in said if correct is kind) / whole for kind in (True, False))
    return {"tpr": tpr, "tnr": 1 - fpr, "balanced_accuracy": (tpr + 1 - fpr) / 2}


def _transition(before: bool, after: bool) -> str:
    words = {True: "right", False: "wrong"}
    return f"{words[before]}->{words[after]}"
