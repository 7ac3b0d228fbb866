"""Prints summaries to people. Computes nothing."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from evalsuite import words


def summary(console: Console, value: dict[str, Any], directory: str) -> None:
    """The table at the end of a run."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    counts, tokens, rate = value["counts"], value["tokens"], value["throughput"]
    rows = {
        "task": f"{value['task']['name']} ({counts['problems']} problems)",
        "model": f"{value['model']}, {value['strategy']}",
        "accuracy": words.interval(value["accuracy"]),
        "outcomes": ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in ("right", "wrong", "no_answer", "truncated")),
        "tokens": f"{tokens['completion']} generated, {tokens['completion_per_problem']} a problem",
        "throughput": f"{rate['completion_tokens_per_s']} tokens a second, {rate['problems_per_s']} problems a second",
        "latency": words.seconds(value["latency_s"]["e2e"]),
    }
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
