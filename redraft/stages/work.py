"""The work of one run: what it is given, what it has spent, its responses so far, and whom it tells. Knows no stage."""

from __future__ import annotations

from dataclasses import dataclass, field

from redraft import prompts
from redraft.accounts import Accounts
from redraft.ballot import Ballot
from redraft.budget import Budget
from redraft.engine import Engine
from redraft.events import Emit, StepEnded, StepText, VoteMoved
from redraft.options import LoopOptions
from redraft.types import Calibration, Draft, Stage


@dataclass(slots=True)
class Work:
    """The state that the stages of one run share."""

    engine: Engine
    messages: prompts.Messages
    problem: str
    model: str
    critic: str
    options: LoopOptions
    calibration: Calibration | None
    """How the critic's beliefs are read, whether or not it pays."""
    trusted: Calibration | None
    """The same where it pays: only then its word moves votes."""
    budget: Budget
    accounts: Accounts
    ballot: Ballot
    emit: Emit
    warnings: list[str] = field(default_factory=list)

    def text(self, stage: Stage, index: int, text: str) -> None:
        """A piece of a step's text came."""
        self.accounts.text_came()
        self.emit(StepText(stage, index, text))

    def ended(self, draft: Draft) -> None:
        """A draft or revision is whole, or was cut off."""
        self.emit(StepEnded(draft.stage, draft.index, draft=draft))

    def voted(self) -> None:
        """The votes may have moved."""
        self.emit(VoteMoved(self.ballot.candidates()))
