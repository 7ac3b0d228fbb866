"""`evalsuite table DIR...`: summaries of several runs, one line each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from evalsuite import store, words
from evalsuite.commands import options, show

METRICS = ("bleu", "rouge1", "rougeL")
"""Text metrics that have a column where a run has them."""


def table(
    directories: Annotated[list[Path], typer.Argument(help="Directories of runs.")],
    as_json: options.AsJson = False,
) -> None:
    """Print the summaries of several runs side by side."""
    summaries = [store.load_json(directory / store.SUMMARY) for directory in directories]
    if as_json:
        sys.stdout.write(json.dumps(summaries, ensure_ascii=False) + "\n")
        return
    shared = {value["task"]["name"] for value in summaries}
    lines = Table("model", "strategy", box=None, padding=(0, 2, 0, 0))
    for head in ("accuracy, 95 %", "n", "tokens each", "p50", "p95"):
        lines.add_column(head, no_wrap=True)
    metrics = [name for name in METRICS if any(name in value.get("text", {}) for value in summaries)]
    for name in metrics:
        lines.add_column(name, no_wrap=True)
    for value in summaries:
        text = value.get("text", {})
        counts, e2e = value["counts"], value["latency_s"]["e2e"]
        failed = counts["infrastructure_failures"]
        lines.add_row(
            value["model"] if len(shared) == 1 else f"{value['task']['name']}: {value['model']}",
            value["strategy"],
            words.interval(value["accuracy"]),
            str(counts["graded"]) + (f" (+{failed} failed)" if failed else ""),
            f"{value['tokens']['completion_per_problem']:.0f}",
            *("-" if e2e is None else words.duration(e2e[q]) for q in ("p50", "p95")),
            *(words.metric(name, text[name]) if name in text else "-" for name in metrics),
        )
    console = show.results_console()
    if len(shared) == 1:
        console.print(*shared)
    console.print(lines)
