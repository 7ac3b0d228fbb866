"""Accuracy against generated tokens: greedy, votes, adaptive voting and loops on the same problems, from runs of evalsuite.

    python -m benchmarks.accuracy_tokens RUN [RUN ...] [--name accuracy_tokens]

Asks no model. Every run is a point. The vote run with the most responses is also replayed: from its samples, votes of 1, 2, 4, ... of
them and the loop's own adaptive drawing (its batches, its stopping rule) are what they would have been. A replay is the mean over seeded
shuffles of each problem's responses, so it is the same every time; its first draft is a sample, where a server's is greedy, and a
response's tokens are its share, by characters, of those of its reply. Differences are paired by problem, with bootstrap intervals; loops
are also compared with voting at the same tokens, mixed from the two votes beside it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.plot import Line, svg
from benchmarks.report import RESULTS, save
from evalsuite import compare, measures, stats
from evalsuite.config import Strategy
from evalsuite.grade import Outcome
from redraft import vote
from redraft.errors import BadRequest
from redraft.options import LoopOptions

SHUFFLES = 50


@dataclass(frozen=True)
class Drawn:
    """The responses that were drawn for one problem: their groups of equal answers (None: no answer), tokens, the right groups."""

    groups: tuple[int | None, ...]
    tokens: tuple[float, ...]
    right: frozenset[int]


@dataclass(frozen=True)
class Curve:
    """One way of answering: for each problem a score and the tokens it took."""

    name: str
    scores: Mapping[str, float]
    tokens: Mapping[str, float]

    def cost(self, ids: Sequence[str]) -> float:
        return statistics.fmean(self.tokens[i] for i in ids)

    def of(self, ids: Sequence[str]) -> list[float]:
        return [self.scores[i] for i in ids]


def drawn(sample: Mapping[str, Any], grade: Mapping[str, Any]) -> Drawn:
    """What a graded sample of a vote run says of one problem."""
    lengths = [len(response["content"]) or 1 for response in sample["responses"]]
    group_of = {index: number for number, members in enumerate(grade["groups"]) for index in members}
    right = {group_of[i] for i, mark in enumerate(grade["marks"]) if mark["outcome"] == Outcome.RIGHT and i in group_of}
    each = sample["completion_tokens"] / sum(lengths)
    return Drawn(tuple(group_of.get(i) for i in range(len(lengths))), tuple(each * length for length in lengths), frozenset(right))


def elected(groups: Sequence[int | None]) -> int | None:
    """The group with the most votes; ties go to the one that came first."""
    votes: dict[int, int] = {}
    for group in groups:
        if group is not None:
            votes[group] = votes.get(group, 0) + 1
    return max(votes, key=lambda group: votes[group], default=None)


def stopped(groups: Sequence[int | None], options: LoopOptions) -> int:
    """After how many responses, in this order, the loop's adaptive drawing has its answer; those of a batch end one after the other."""
    votes: dict[int, float] = {}
    most = min(options.drafts, len(groups))
    for count, group in enumerate(groups[:most], start=1):
        if group is not None:
            votes[group] = votes.get(group, 0.0) + 1
        if count < most and vote.decided(list(votes.values()), most - count, swing=0.0, confidence=options.confidence):
            return count
    return most


def spent(tokens: Sequence[float], count: int, batch: int) -> float:
    """Tokens when `count` responses were whole: those, and as much of the others of the last batch as was written in the meantime."""
    begun = min(len(tokens), -(-count // batch) * batch)
    longest = max(tokens[count - (count - 1) % batch - 1 : count])
    return sum(tokens[:count]) + sum(min(longest, cut) for cut in tokens[count:begun])


def replay(problems: Mapping[str, Drawn], name: str, count: int | None, options: LoopOptions) -> Curve:
    """A vote of `count` responses; None draws adaptively."""
    scores, tokens = {}, {}
    for key, one in problems.items():
        rng = random.Random(f"replay {key}")
        hits, costs = [], []
        for _ in range(SHUFFLES):
            order = rng.sample(range(len(one.groups)), len(one.groups))
            groups, sizes = [one.groups[i] for i in order], [one.tokens[i] for i in order]
            n = stopped(groups, options) if count is None else count
            hits.append(elected(groups[:n]) in one.right)
            costs.append(spent(sizes, n, options.batch) if count is None else sum(sizes[:n]))
        scores[key], tokens[key] = statistics.fmean(hits), statistics.fmean(costs)
    return Curve(name, scores, tokens)


def replayed(run: compare.Run, batch: int, confidence: float) -> list[Curve]:
    """Votes of 1, 2, 4, ... of a run's responses, and adaptive drawing of at most all of them."""
    problems = {key: drawn(sample, grade) for key, (sample, grade) in run.graded.items()}
    n = run.responses
    options = LoopOptions(drafts=n, batch=batch, confidence=confidence)
    sizes = [2**k for k in range(n.bit_length()) if 2**k < n] + [n]
    return [replay(problems, f"vote@{k}", k, options) for k in sizes] + [replay(problems, f"adaptive@{n}", None, options)]


def measured(run: compare.Run) -> Curve:
    """A run as it was."""
    ids = list(run.graded)
    tokens = {key: float(sample["completion_tokens"]) for key, (sample, _) in run.graded.items()}
    return Curve(f"{run.config.strategy}: {run.name}", dict(zip(ids, run.scores(ids), strict=True)), tokens)


def voting_at(votes: Sequence[Curve], tokens: float, ids: Sequence[str]) -> list[float] | None:
    """The scores of voting at so many tokens: a mix of the votes beside it. None where no two votes lie about it."""
    ranked = sorted(votes, key=lambda one: one.cost(ids))
    for low, high in itertools.pairwise(ranked):
        least, most = low.cost(ids), high.cost(ids)
        if least <= tokens <= most:
            share = (tokens - least) / (most - least) if most > least else 0.0
            return [(1 - share) * low.scores[i] + share * high.scores[i] for i in ids]
    return None


def point(curve: Curve, ids: Sequence[str]) -> dict[str, Any]:
    interval = stats.bootstrap([(score, 1.0) for score in curve.of(ids)], lambda sums: sums[0] / sums[1])
    return {"name": curve.name, "tokens": curve.cost(ids), "accuracy": asdict(interval)}


def against(curve: Curve, name: str, other: Sequence[float], tokens: float, ids: Sequence[str]) -> dict[str, Any]:
    """`curve` minus `other`, paired by problem."""
    difference = stats.paired_bootstrap(list(other), curve.of(ids))
    return {"a": curve.name, "b": name, "difference": asdict(difference), "tokens_ratio": curve.cost(ids) / tokens}


def study(runs: Sequence[compare.Run], *, batch: int = 5, confidence: float = 0.95) -> dict[str, Any]:
    """All points and comparisons on the problems that every run has answered."""
    tasks = {(run.config.task, run.config.task_fingerprint) for run in runs}
    if len(tasks) != 1:
        raise BadRequest(f"the runs are of different tasks: {', '.join(sorted(task for task, _ in tasks))}")
    ids = sorted(set.intersection(*(set(run.graded) for run in runs)))
    if not ids:
        raise BadRequest("the runs have no problem in common")
    votes = [run for run in runs if run.config.strategy is Strategy.VOTE]
    source = max(votes, key=lambda run: run.responses, default=None)
    replays = [] if source is None else replayed(source, batch, confidence)
    own = [measured(run) for run in runs]
    comparisons = _comparisons(replays, [c for run, c in zip(runs, own, strict=True) if run.config.strategy is Strategy.LOOP], ids)
    loops = {
        run.name: measures.loop([run.graded[i][0] for i in ids], [run.graded[i][1] for i in ids])
        for run in runs
        if run.config.strategy is Strategy.LOOP
    }
    return {
        "task": runs[0].config.task,
        "problems": len(ids),
        "runs": [{"name": run.name, **run.config.as_json()} for run in runs],
        "replayed": None if source is None else {"run": source.name, "shuffles": SHUFFLES, "batch": batch, "confidence": confidence},
        "points": [{**point(curve, ids), "replay": curve in replays} for curve in (*own, *replays)],
        "comparisons": comparisons,
        "loops": loops,
    }


def _comparisons(replays: Sequence[Curve], loops: Sequence[Curve], ids: Sequence[str]) -> list[dict[str, Any]]:
    if not replays:
        return []
    *votes, adaptive = replays
    found = [against(adaptive, votes[-1].name, votes[-1].of(ids), votes[-1].cost(ids), ids)]
    for loop in loops:
        found.append(against(loop, adaptive.name, adaptive.of(ids), adaptive.cost(ids), ids))
        cost = loop.cost(ids)
        scores = voting_at(votes, cost, ids)
        if scores is not None:
            found.append(against(loop, "vote at equal tokens", scores, cost, ids))
    return found


def figure(found: Mapping[str, Any]) -> str:
    """Votes as a line, everything else as points; bars are 95 % intervals."""
    replays = [one for one in found["points"] if one["replay"]]
    groups = [("vote, replayed", [one for one in replays if one["name"].startswith("vote")])]
    groups += [(one["name"], [one]) for one in found["points"] if one not in groups[0][1]]
    lines = [
        Line(
            name,
            [(one["tokens"], one["accuracy"]["value"]) for one in points],
            [(one["accuracy"]["low"], one["accuracy"]["high"]) for one in points],
            marks_only=len(points) < 2,
        )
        for name, points in groups
        if points
    ]
    return svg(f"{found['task']}, {found['problems']} problems", "generated tokens a problem", "accuracy", lines, log_x=True)


def show(found: Mapping[str, Any]) -> None:
    """Print the points, the cheapest first."""
    for one in sorted(found["points"], key=lambda one: float(one["tokens"])):
        accuracy = one["accuracy"]
        print(f"{one['name']:40} {one['tokens']:8.0f} tokens  {accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of evalsuite, of one task")
    parser.add_argument("--name", default="accuracy_tokens", help="of the result and the figure")
    parser.add_argument("--batch", type=int, default=5)
    parser.add_argument("--confidence", type=float, default=0.95)
    arguments = parser.parse_args()
    found = study([compare.load(run) for run in arguments.runs], batch=arguments.batch, confidence=arguments.confidence)
    path = save(arguments.name, found)
    (RESULTS / f"{arguments.name}.svg").write_text(figure(found), encoding="utf-8")
    show(found)
    print(json.dumps(found["comparisons"], indent=1))
    print(path)


if __name__ == "__main__":
    main()
