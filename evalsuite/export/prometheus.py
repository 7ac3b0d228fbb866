"""A run's summary as Prometheus series in the text format: accuracy and calibration over time, for whoever scrapes the file.

Prometheus reads it from any web server, or through the text-file collector of its node exporter. A series has the labels `task`, `strategy`
and `model`, so that the next run of the same kind goes on where this one was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalsuite.export.run import Exported
from redraft.records import write_atomic

FILE = "evalsuite.prom"
CRITIC_RATES = ("tpr", "tnr", "balanced_accuracy", "brier", "auroc")
HELP = {
    "evalsuite_accuracy": "Share of problems that were answered right.",
    "evalsuite_accuracy_low": "Lower end of its 95 % interval.",
    "evalsuite_accuracy_high": "Upper end of its 95 % interval.",
    "evalsuite_outcomes": "Samples by outcome.",
    "evalsuite_infrastructure_failures": "Problems that the infrastructure gave no answer to.",
    "evalsuite_completion_tokens_per_problem": "Generated tokens a problem.",
    "evalsuite_latency_seconds": "End-to-end latency of a problem at a quantile.",
    "evalsuite_loop_transitions": "Problems by what the loop made of their first draft.",
    "evalsuite_critic_rate": "Rates of a critic, measured on responses whose truth is known.",
    "evalsuite_finished_timestamp_seconds": "When the run's last reply came.",
}

Sample = tuple[str, dict[str, str], float]


def write(run: Exported, out: Path) -> list[Path]:
    """One file; it is replaced as a whole."""
    path = out / FILE
    write_atomic(path, text(run))
    return [path]


def text(run: Exported) -> str:
    """All series, each with its help and type."""
    base = {"task": run.summary["task"]["name"], "strategy": run.summary["strategy"], "model": run.summary["model"]}
    lines: list[str] = []
    for name, labels, value in samples(run):
        if f"# TYPE {name} gauge" not in lines:
            lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
        shown = ",".join(f'{key}="{_escaped(str(found))}"' for key, found in {**base, **labels}.items())
        lines.append(f"{name}{{{shown}}} {float(value)!r}")
    return "\n".join(lines) + "\n"


def samples(run: Exported) -> Iterator[Sample]:
    """The numbers of the summary that are worth a curve, grouped by series."""
    summary = run.summary
    accuracy = summary["accuracy"]
    if accuracy is not None:
        yield "evalsuite_accuracy", {}, accuracy["value"]
        yield "evalsuite_accuracy_low", {}, accuracy["low"]
        yield "evalsuite_accuracy_high", {}, accuracy["high"]
    counts = summary["counts"]
    for outcome in sorted(counts.keys() - {"problems", "graded", "responses", "infrastructure_failures"}):
        yield "evalsuite_outcomes", {"outcome": outcome}, counts[outcome]
    yield "evalsuite_infrastructure_failures", {}, counts["infrastructure_failures"]
    yield "evalsuite_completion_tokens_per_problem", {}, summary["tokens"]["completion_per_problem"]
    for quantile, seconds in sorted((summary["latency_s"]["e2e"] or {}).items()):
        if quantile.startswith("p"):
            yield "evalsuite_latency_seconds", {"quantile": quantile}, seconds
    loop: dict[str, Any] = summary.get("loop") or {}
    for transition, problems in sorted((loop.get("first_draft_to_final") or {}).items()):
        yield "evalsuite_loop_transitions", {"transition": transition}, problems
    yield from _critic(summary.get("critic") or loop.get("critic"), run.config.critic or summary["model"])
    yield "evalsuite_finished_timestamp_seconds", {}, run.ended.timestamp()


def _critic(measured: dict[str, Any] | None, critic: str) -> Iterator[Sample]:
    """The rates under the names of the server's `redraft_critic_calibration`."""
    if measured is None:
        return
    rates = {name: measured[name] for name in CRITIC_RATES} | {"fpr": None if measured["tnr"] is None else 1 - measured["tnr"]}
    for rate, value in rates.items():
        if value is not None:
            yield "evalsuite_critic_rate", {"critic": critic, "rate": rate}, value


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
