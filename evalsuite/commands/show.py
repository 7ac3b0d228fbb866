"""Prints summaries to people. Computes nothing."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from evalsuite import words

SHOWN_QUEUE_S = 0.001
LOG_WIDTH = 180


def results_console() -> Console:
    """Standard output. Where it is no terminal its lines are long enough to stay whole."""
    return Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False)


def messages_console() -> Console:
    """Standard error. Where it is no terminal nothing breaks its lines."""
    return Console(stderr=True, soft_wrap=not sys.stderr.isatty())


def summary(console: Console, value: dict[str, Any], directory: str) -> None:
    """The table at the end of a run."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    counts, tokens, rate = value["counts"], value["tokens"], value["throughput"]
    rows = {
        "task": f"{value['task']['name']} ({counts['problems']} problems{_shots(value['task'])})",
        "model": f"{value['model']}, {value['strategy']}",
        "accuracy": words.interval(value["accuracy"]),
        "outcomes": ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in _outcomes(counts)),
        "tokens": f"{tokens['completion']} generated, {tokens['completion_per_problem']} a problem",
        "throughput": f"{rate['completion_tokens_per_s']} tokens a second, {rate['problems_per_s']} problems a second",
        "latency": words.seconds(value["latency_s"]["e2e"]),
    }
    if counts["truncated_responses"]:
        rows["token limit"] = f"met by {counts['truncated_responses']} of {counts['responses']} responses"
    queue = value["latency_s"]["queue"]
    if queue is not None and queue["p95"] >= SHOWN_QUEUE_S:
        rows["queue"] = words.seconds(queue)
    if value["latency_s"]["ttft"] is not None:
        rows["first token"] = words.seconds(value["latency_s"]["ttft"])
    if value["latency_s"]["itl"] is not None:
        rows["token gap"] = words.seconds(value["latency_s"]["itl"])
    if value["goodput"] is not None:
        goodput = value["goodput"]
        rows["goodput"] = f"{goodput['share']:.1%} of requests, {goodput['good_per_s']} a second"
    rows |= words.special(value)
    if value["failures"]:
        rows["failures"] = ", ".join(f"{count} {cause}" for cause, count in value["failures"].items()) + " (not scored)"
    if value["task"]["bad_rows"]:
        rows["bad rows"] = f"{value['task']['bad_rows']} left out"
    rows["results"] = directory
    for name, text in rows.items():
        table.add_row(name, text)
    console.print(table)


def over_seeds(console: Console, value: dict[str, Any]) -> None:
    """The result of runs with different seeds, then one line for each."""
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    left_out = f", {value['left_out']} left out that not all seeds have" if value["left_out"] else ""
    facts.add_row("task", f"{value['task']} ({value['problems']} problems{left_out})")
    facts.add_row("model", f"{value['model']}, {value['strategy']}, {len(value['runs'])} seeds")
    facts.add_row(
        "accuracy", f"{words.interval(value['accuracy'])}, standard deviation over seeds {value['sd_over_seeds'] * 100:.1f} points"
    )
    facts.add_row("tokens", f"{value['tokens_per_problem']} an answer")
    facts.add_row("latency", words.seconds(value["latency_s"]["e2e"]))
    console.print(facts)
    seeds = Table("seed", "accuracy", "tokens", "latency p50", "p95", "failed", box=None, padding=(0, 2, 0, 0))
    for run in value["runs"]:
        seeds.add_row(
            "-" if run["seed"] is None else str(run["seed"]),
            f"{run['accuracy']:.1%}",
            f"{run['tokens_per_problem']:.0f}",
            words.duration(run["latency_p50_s"]),
            words.duration(run["latency_p95_s"]),
            str(run["infrastructure_failures"]),
        )
    console.print(seeds)


def _outcomes(counts: dict[str, int]) -> tuple[str, ...]:
    return ("right", "wrong", "no_answer", "truncated", *(("no_gold",) if counts["no_gold"] else ()))


def _shots(task: dict[str, Any]) -> str:
    shots = task.get("num_fewshot", 0)
    return f", {shots}-shot" if shots else ""
