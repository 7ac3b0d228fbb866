"""`evalsuite compare A B`: two run directories side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from evalsuite import words
from evalsuite.commands import options, show
from evalsuite.compare import compare as compare_runs
from evalsuite.compare import load


def compare(
    a: Annotated[Path, typer.Argument(help="Directory of the first run, the baseline.")],
    b: Annotated[Path, typer.Argument(help="Directory of the second run.")],
    as_json: options.AsJson = False,
) -> None:
    """Compare two runs of one task problem by problem: difference, interval, exact p, and the same at equal tokens."""
    value = compare_runs(load(a), load(b))
    if as_json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    else:
        _show(value)


def _show(value: dict[str, Any]) -> None:
    console = show.results_console()
    table = Table("", "model", "strategy", "accuracy", "tokens/problem", "latency p50", box=None, padding=(0, 2, 0, 0))
    for name in ("a", "b"):
        side = value[name]
        table.add_row(
            name.upper(),
            side["model"],
            side["strategy"],
            "-" if side["accuracy"] is None else f"{side['accuracy']:.1%}",
            f"{side['tokens_per_problem']:.0f}",
            words.duration(side["latency_p50_s"]),
        )
    console.print(table)
    console.print(f"{value['task']}, {value['problems']} problems in both ({value['only_in_a']} only in A, {value['only_in_b']} only in B)")
    if value["difference"] is not None:
        console.print(f"B - A: {_difference(value['difference'])}")
    for name, found in value["text"].items():
        console.print(f"{name}: A {found['a']:.4g}, B {found['b']:.4g}, B - A: {words.metric(name, found['difference'])}")
    test = value["mcnemar"]
    if test is not None:
        console.print(f"only A right: {test['only_a_right']}, only B right: {test['only_b_right']}, McNemar exact p = {test['p']:.3g}")
    equal = value["at_equal_tokens"]
    if equal is not None:
        cut = f"{equal['tokens_per_problem']:.0f} a problem, {equal['cut'].upper()} cut to maj@{equal['maj_at']:g}"
        console.print(f"at equal tokens ({cut}): B - A: {_difference(equal['difference'])}")


def _difference(interval: dict[str, Any]) -> str:
    points = [f"{interval[end] * 100:+.1f}" for end in ("value", "low", "high")]
    return f"{points[0]} points, 95 % interval [{points[1]}, {points[2]}]"
