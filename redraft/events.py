"""What a loop tells while it runs. Plain values; how they are shown or sent is not known here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redraft.types import Candidate, Critique, Draft, Stage, Usage


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A draft, critique or revision begins. `index` is the response it writes or, for a critique, judges."""

    stage: Stage
    index: int
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class StepText:
    stage: Stage
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class StepEnded:
    stage: Stage
    index: int
    draft: Draft | None = None
    critique: Critique | None = None


@dataclass(frozen=True, slots=True)
class VoteMoved:
    candidates: tuple[Candidate, ...]


Event = StepStarted | StepText | StepEnded | VoteMoved
Emit = Callable[[Event], None]
OnCall = Callable[[Stage, float, Usage], None]
"""Told of each draft request, critique and revision that ends, cancelled ones too: its stage, its seconds, its tokens."""
