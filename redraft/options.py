"""How much a loop may do, and the seeds that follow from its one seed. Plain values; knows no engine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

from redraft.types import Stage

Asked = Literal["calibrated", "always"]
"""When the critic is asked: only when its calibration says that it pays, or also when nobody has measured it."""


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How much a loop may do. All budgets hold for all its stages together."""

    drafts: int = 5
    """At most so many; fewer when they agree."""
    batch: int = 5
    """Drafts that are drawn side by side before the vote is looked at again."""
    confidence: float = 0.95
    """Drawing stops when the leading answer's posterior reaches this; 1 draws on until nothing could change the winner."""
    rounds: int = 1
    """Rounds of critique and revision after the drafts; 0 is early-stopped voting."""
    critique: Asked = "calibrated"
    """`always` asks a critic that has no calibration, or one that does not pay, too: it is heard and shown, and moves no vote."""
    max_tokens: int = 8192
    """Generated tokens in all."""
    max_calls: int = 64
    deadline_s: float | None = None
    temperature: float = 0.7
    """Of revisions and of all drafts but the first, which is greedy."""
    seed: int | None = None
    response_tokens: int = 1024
    """The longest draft or revision."""
    critique_tokens: int = 384
    """The longest critique."""


def with_overrides(options: LoopOptions, **changes: object) -> LoopOptions:
    """`options` with the given fields, None left as it is."""
    return replace(options, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]


def derived_seed(seed: int | None, stage: Stage, index: int) -> int | None:
    """A seed of its own for each call. Engines seed the k-th completion of a request with seed + k: near seeds would share drafts."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"{seed}/{stage.value}/{index}".encode()).digest()[:4])
