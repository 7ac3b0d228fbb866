"""Several runs that differ in their seed alone, taken together: the mean, the spread over seeds and how sure it is. Prints nothing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from evalsuite import compare, stats, store, summary
from evalsuite.config import RunConfig, Strategy, differences
from evalsuite.labelled import problem_of
from redraft.errors import BadRequest
from redraft.records import Record

SEED = "sampling.seed"


@dataclass(frozen=True, slots=True)
class SeedRun:
    """A finished run and its summary."""

    run: compare.Run
    summary: dict[str, Any]

    @property
    def seed(self) -> int | None:
        return self.run.config.sampling.seed


def load(directory: Path) -> SeedRun:
    """The run in a directory. One that was not finished is an error, as it has no summary of all that it asked."""
    run = compare.load(directory)
    if not (directory / store.SUMMARY).is_file():
        raise BadRequest(f"{directory}: this run was not finished; the command that began it goes on with it")
    return SeedRun(run, store.load_json(directory / store.SUMMARY))


def aggregate(runs: Sequence[SeedRun]) -> dict[str, Any]:
    """The runs as one, on the problems that all of them answered. Raises BadRequest when anything but the seed sets them apart."""
    refuse_unlike([run.run for run in runs])
    first = runs[0].run
    graded = [i for i in first.graded if all(i in other.run.graded for other in runs)]
    ids = [i for i in graded if summary.has_gold(first.graded[i][1])]
    if not ids:
        why = "no problem that all of them answered" if not graded else "no gold answers, so that there is no accuracy"
        raise BadRequest(f"{first.name} and the other runs have {why}")
    scores = [run.run.scores(ids) for run in runs]
    accuracies = [fmean(of_seed) for of_seed in scores]
    samples = [run.run.graded[i][0] for run in runs for i in ids]
    return {
        "task": first.config.task,
        "model": first.config.model,
        "strategy": str(first.config.strategy),
        "seeds": [run.seed for run in runs],
        "problems": len(ids),
        "left_out": len({i for run in runs for i in run.run.graded}) - len(ids),
        "accuracy": asdict(_interval(first.config, ids, scores)),
        "sd_over_seeds": stdev(accuracies),
        "tokens_per_problem": round(fmean(run.run.tokens(ids) for run in runs), 1),
        "latency_s": summary.latency(samples),
        "runs": [_of_seed(run, ids, accuracy) for run, accuracy in zip(runs, accuracies, strict=True)],
    }


def refuse_unlike(runs: Sequence[compare.Run]) -> None:
    """Raise BadRequest unless these are runs of one configuration under different seeds."""
    if len(runs) < 2:
        raise BadRequest("an aggregate needs at least two runs")
    first = runs[0]
    for other in runs[1:]:
        unlike = _unlike(first.config, other.config)
        if unlike:
            raise BadRequest(f"{other.name} differs from {first.name} in more than the seed: {'; '.join(unlike)}")
    seen: dict[int, str] = {}
    for run in runs:
        seed = run.config.sampling.seed
        if seed in seen:
            raise BadRequest(f"{seen[seed]} and {run.name} have the same seed, {seed}: the same responses would count twice")
        if seed is not None:
            seen[seed] = run.name


def same_but_for_seed(configs: Sequence[RunConfig]) -> bool:
    """Whether these are several configurations with seeds that, and nothing else, set them apart."""
    seeds = {config.sampling.seed for config in configs} - {None}
    return len(configs) > 1 and len(seeds) == len(configs) and not any(_unlike(configs[0], other) for other in configs[1:])


def _unlike(a: RunConfig, b: RunConfig) -> list[str]:
    return [found for found in differences(b.as_json(), a.as_json(), mine_is="here") if not found.startswith(f"{SEED}:")]


def _interval(config: RunConfig, ids: Sequence[str], scores: Sequence[Sequence[float]]) -> stats.Interval:
    """Problems are resampled, each with its scores under all seeds, so that alike scores of one problem do not count as several.

    The order of the rows is that of the names, so that the interval does not follow from which reply came first.
    """
    cluster = problem_of if config.strategy is Strategy.CRITIQUE else str
    rows: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for position, i in enumerate(ids):
        row = rows[cluster(i)]
        row[0] += math.fsum(of_seed[position] for of_seed in scores)
        row[1] += len(scores)
    return stats.bootstrap([rows[name] for name in sorted(rows)], lambda sums: float(sums[0] / sums[1]))


def _of_seed(run: SeedRun, ids: Sequence[str], accuracy: float) -> Record:
    latencies = [run.run.graded[i][0]["timing"]["latency_s"] for i in ids]
    return {
        "run": run.run.name,
        "seed": run.seed,
        "accuracy": accuracy,
        "tokens_per_problem": round(run.run.tokens(ids), 1),
        "latency_p50_s": stats.percentile(latencies, 50),
        "latency_p95_s": stats.percentile(latencies, 95),
        "infrastructure_failures": run.summary["counts"]["infrastructure_failures"],
    }
