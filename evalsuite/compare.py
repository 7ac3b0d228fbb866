"""Two runs of one task, problem by problem: the difference, how sure it is, and what it costs in tokens. Prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evalsuite import measures, stats, store, texts
from evalsuite.config import RunConfig, Strategy
from evalsuite.summary import has_gold, score
from redraft.errors import BadRequest
from redraft.records import Record


@dataclass(frozen=True, slots=True)
class Run:
    """A graded run: its configuration, and sample and grade of each problem by id."""

    name: str
    config: RunConfig
    graded: dict[str, tuple[Record, Record]]
    texts: dict[str, Record] = field(default_factory=dict)
    """Scores by text metrics, of the problems that have them."""

    @property
    def responses(self) -> int:
        """Responses that one answer takes and that a majority of fewer can be computed from; 1 where there is no such thing."""
        return (self.config.sampling.n or 1) if self.config.strategy is Strategy.VOTE else 1

    def tokens(self, ids: Sequence[str]) -> float:
        """Generated tokens that one answer takes, on average; for `direct` each response is an answer."""
        generated: int = sum(self.graded[i][0]["completion_tokens"] for i in ids)
        answers = (self.config.sampling.n or 1) if self.config.strategy is Strategy.DIRECT else 1
        return generated / len(ids) / answers

    def scores(self, ids: Sequence[str]) -> list[float]:
        return [score(self.config, self.graded[i][1]) for i in ids]


def load(directory: Path) -> Run:
    """The run in a directory."""
    config = RunConfig.from_json(store.load_json(directory / store.CONFIG))
    results = store.load(directory)
    graded = {sample["id"]: (sample, results.grades[key]) for key, sample in results.samples.items() if key in results.grades}
    scored = {results.samples[key]["id"]: record for key, record in results.texts.items() if key in results.samples}
    return Run(str(directory), config, graded, scored)


def compare(a: Run, b: Run) -> dict[str, Any]:
    """How `b` differs from `a` on the problems that both answered. Raises BadRequest when they are not runs of one task."""
    _refuse_different_tasks(a, b)
    ids = [i for i in a.graded if i in b.graded]
    if not ids:
        raise BadRequest(f"{a.name} and {b.name} have no graded problem in common")
    judged = [i for i in ids if has_gold(a.graded[i][1])]
    scores_a, scores_b = a.scores(judged), b.scores(judged)
    return {
        "task": a.config.task,
        "problems": len(ids),
        "only_in_a": len(a.graded) - len(ids),
        "only_in_b": len(b.graded) - len(ids),
        "a": _side(a, ids, scores_a),
        "b": _side(b, ids, scores_b),
        "difference": asdict(stats.paired_bootstrap(scores_a, scores_b)) if judged else None,
        "mcnemar": _mcnemar(scores_a, scores_b) if judged else None,
        "at_equal_tokens": _at_equal_tokens(a, b, judged) if judged else None,
        "text": _texts(a, b, ids),
    }


def _texts(a: Run, b: Run, ids: Sequence[str]) -> dict[str, Any]:
    """Both runs by the text metrics that both have, on the problems that both have them for."""
    scored = [i for i in ids if i in a.texts and i in b.texts]
    first, second = [a.texts[i] for i in scored], [b.texts[i] for i in scored]
    names = [name for name in texts.names_of(first) if name in texts.names_of(second)]
    return {name: texts.difference(name, first, second) for name in names}


def _refuse_different_tasks(a: Run, b: Run) -> None:
    mine, theirs = (a.config.task, a.config.task_fingerprint), (b.config.task, b.config.task_fingerprint)
    if mine != theirs:
        raise BadRequest(f"different tasks: {a.name} is of {mine[0]} ({mine[1]}), {b.name} of {theirs[0]} ({theirs[1]})")
    if (a.config.strategy is Strategy.CRITIQUE) != (b.config.strategy is Strategy.CRITIQUE):
        raise BadRequest(
            f"{a.name} has strategy {a.config.strategy} and {b.name} {b.config.strategy}: one measures a critic, the other a solver"
        )


def _side(run: Run, ids: Sequence[str], scores: Sequence[float]) -> dict[str, Any]:
    return {
        "run": run.name,
        "model": run.config.model,
        "strategy": str(run.config.strategy),
        "num_fewshot": len(run.config.shots),
        "accuracy": sum(scores) / len(scores) if scores else None,
        "tokens_per_problem": round(run.tokens(ids), 1),
        "latency_p50_s": stats.percentile([run.graded[i][0]["timing"]["latency_s"] for i in ids], 50),
    }


def _mcnemar(scores_a: Sequence[float], scores_b: Sequence[float]) -> dict[str, float] | None:
    """The exact test on discordant problems; None when a score is a share of several responses, which the test does not know."""
    if any(score not in (0.0, 1.0) for score in (*scores_a, *scores_b)):
        return None
    only_a = sum(x > y for x, y in zip(scores_a, scores_b, strict=True))
    only_b = sum(x < y for x, y in zip(scores_a, scores_b, strict=True))
    return {"only_a_right": only_a, "only_b_right": only_b, "p": stats.mcnemar(only_a, only_b)}


def _at_equal_tokens(a: Run, b: Run, ids: Sequence[str]) -> dict[str, Any] | None:
    """The same comparison with the dearer run cut down to a majority of as many responses as the other's tokens pay for.

    Between two numbers of responses the score is the mix of both that costs exactly the other's tokens. None when the dearer run cannot be
    cut: it has one response a problem, or already one costs more than the other run.
    """
    tokens_a, tokens_b = a.tokens(ids), b.tokens(ids)
    dearer, cheaper, most = (a, b, tokens_b) if tokens_a >= tokens_b else (b, a, tokens_a)
    each = dearer.tokens(ids) / dearer.responses
    if dearer.responses == 1 or not each or not 1 <= most / each < dearer.responses:
        return None
    cut = [_mixed_majority(dearer.graded[i][1], most / each) for i in ids]
    scores_a, scores_b = (cut, cheaper.scores(ids)) if dearer is a else (a.scores(ids), cut)
    return {
        "cut": "a" if dearer is a else "b",
        "maj_at": round(most / each, 2),
        "tokens_per_problem": round(most, 1),
        "accuracy_a": sum(scores_a) / len(ids),
        "accuracy_b": sum(scores_b) / len(ids),
        "difference": asdict(stats.paired_bootstrap(scores_a, scores_b)),
    }


def _mixed_majority(grade: Record, k: float) -> float:
    """maj@k for a k that need not be whole."""
    below = int(k)
    lower = measures.majority_share(grade, below)
    return lower if below == k else lower + (k - below) * (measures.majority_share(grade, below + 1) - lower)
