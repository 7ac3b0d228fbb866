"""The result of one check."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

How: TypeAlias = Literal["text", "exact", "symbolic", "abstain"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two answers are equal, and who decided it.

    `how` is the layer: `text` (the same once spelling is normalised), `exact` (the checker's own arithmetic and types, for equal
    and for unequal), `symbolic` (SymPy in a worker process), or `abstain` (nobody could tell; then `equal` is False).
    """

    equal: bool
    how: How
    gold_value: str | None
    """The gold answer that was compared, after extraction."""
    pred_value: str | None
    """The answer found in the prediction; None when it has none."""
    reason: str
    seconds: float
