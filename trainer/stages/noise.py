"""How often a teacher was wrong: rates by reason and by the true label, with Wilson's intervals. Knows counts only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from redraft.prompts import RIGHT, WRONG

Z = 1.959963984540054
"""For 95 %."""
ALL = "all"


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `n`, and where the true share lies with 95 % confidence."""

    count: int
    n: int

    @property
    def value(self) -> float | None:
        return self.count / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's."""
        if not self.n:
            return None
        p, shrink = self.count / self.n, 1 + Z * Z / self.n
        centre = (p + Z * Z / (2 * self.n)) / shrink
        half = Z / shrink * math.sqrt(p * (1 - p) / self.n + Z * Z / (4 * self.n**2))
        return (0.0 if self.count == 0 else centre - half, 1.0 if self.count == self.n else centre + half)

    def json(self) -> dict[str, Any]:
        low, high = self.interval or (None, None)
        return {"count": self.count, "n": self.n, "rate": self.value, "low": low, "high": high}

    def __str__(self) -> str:
        if self.interval is None:
            return "none"
        low, high = self.interval
        return f"{self.count}/{self.n} = {self.count / self.n:.1%} [{low:.1%}, {high:.1%}]"


@dataclass(frozen=True, slots=True)
class Noise:
    """Critiques that could be judged, by the true label of their response, and the teacher's faults among them."""

    judged: Counter[str]
    faults: Counter[tuple[str, str]]
    """(true label, reason) -> count."""
    reasons: Sequence[str]

    def rate(self, label: str, reason: str | None = None) -> Rate:
        """Of `reason`, or of all together, among critiques of `label`, or of `all` responses."""
        labels = (RIGHT, WRONG) if label == ALL else (label,)
        reasons = self.reasons if reason is None else (reason,)
        return Rate(sum(self.faults[side, why] for side in labels for why in reasons), sum(self.judged[side] for side in labels))

    def json(self) -> Mapping[str, Any]:
        return {
            label: {"any": self.rate(label).json(), **{reason: self.rate(label, reason).json() for reason in self.reasons}}
            for label in (ALL, RIGHT, WRONG)
        }

    def table(self) -> Table:
        shown = Table(
            "the teacher's faults", "all responses", "right ones", "wrong ones", title="critiques that were wrong (95 % interval)"
        )
        for reason in (*self.reasons, None):
            shown.add_row(
                reason or "any", *(str(self.rate(label, reason)) for label in (ALL, RIGHT, WRONG)), end_section=reason == self.reasons[-1]
            )
        return shown
