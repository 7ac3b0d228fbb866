"""What a run must reach for exit code 0, and which other code it gets. Measures nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console

from evalsuite import summary, words
from evalsuite.commands.exits import Exit


@dataclass(frozen=True, slots=True)
class Thresholds:
    """None asks for nothing."""

    min_accuracy: float | None
    max_p95_latency_s: float | None
    max_p95_ttft_s: float | None


def verdict(value: dict[str, Any], limits: Thresholds, console: Console) -> Exit:
    """The exit code of a run with this summary, said in words on standard error when it is not 0."""
    return failed(value, console) or missed(value, limits, console)


def failed(value: dict[str, Any], console: Console) -> Exit:
    """INFRASTRUCTURE for a run whose problems were not all answered, or all but a few."""
    if summary.too_many_failures(value) or not value["complete"]:
        failed = f"{value['counts']['infrastructure_failures']} of {value['counts']['problems']} problems"
        console.print(f"{failed} got no answer from the infrastructure; the same command asks them again")
        for cause, message in value["failure_examples"].items():
            console.print(f"{cause}: {message}", highlight=False, markup=False)
        return Exit.INFRASTRUCTURE
    return Exit.OK


def missed(value: dict[str, Any], limits: Thresholds, console: Console) -> Exit:
    """The code of the first limit that is not kept."""
    accuracy = value["accuracy"]
    if limits.min_accuracy is not None and (accuracy is None or accuracy["value"] < limits.min_accuracy):
        console.print(f"accuracy {words.interval(accuracy)} is below --min-accuracy {limits.min_accuracy:.1%}")
        return Exit.BELOW_ACCURACY
    for name, limit in (("e2e", limits.max_p95_latency_s), ("ttft", limits.max_p95_ttft_s)):
        seen = value["latency_s"][name]
        if limit is not None and seen is None:
            console.print(f"{name} was not seen in any reply, so that its p95 is not known to be within the limit of {limit:g} s")
            return Exit.ABOVE_LATENCY
        if limit is not None and seen["p95"] > limit:
            console.print(f"{name} {words.seconds(seen)} is above the limit of {limit:g} s for p95")
            return Exit.ABOVE_LATENCY
    return Exit.OK
