"""Service-level objectives: `ttft=500ms,e2e=10s`, and how much of a run met them. Knows timings, nothing of tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redraft.errors import BadRequest

FIELDS = {"ttft": "ttft_s", "e2e": "latency_s", "queue": "queue_s"}
UNITS = {"ms": 0.001, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Slo:
    """Limits in seconds that a request must keep, all of them, to count as good."""

    limits: Mapping[str, float]

    @staticmethod
    def parse(text: str) -> Slo:
        """`NAME=DURATION[,...]` with names `ttft`, `e2e` and `queue` and durations such as 500ms or 10s."""
        limits = {}
        for part in text.split(","):
            found = re.fullmatch(r"\s*(\w+)\s*=\s*(\d+(?:\.\d+)?)\s*(ms|s)\s*", part)
            if found is None or found[1] not in FIELDS:
                raise BadRequest(
                    f"--slo: expected ttft=DURATION, e2e=DURATION or queue=DURATION, with a duration such as 500ms or 10s, found {part!r}",
                    param="slo",
                )
            limits[found[1]] = float(found[2]) * UNITS[found[3]]
        return Slo(limits)

    @property
    def needs_stream(self) -> bool:
        return "ttft" in self.limits

    def met(self, timing: Mapping[str, Any]) -> bool:
        """Whether one request kept every limit; a time that was not seen is not kept."""
        seen = {name: timing.get(FIELDS[name]) for name in self.limits}
        return all(value is not None and value <= self.limits[name] for name, value in seen.items())

    def goodput(self, timings: Sequence[Mapping[str, Any]], busy_s: float) -> dict[str, Any]:
        """How many requests were good, as a share and a second."""
        good = sum(self.met(timing) for timing in timings)
        return {
            "slo_s": dict(self.limits),
            "good": good,
            "share": good / len(timings) if timings else 0.0,
            "good_per_s": round(good / busy_s, 4) if busy_s else 0.0,
        }
