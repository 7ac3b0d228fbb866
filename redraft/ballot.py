"""The responses of one loop, grouped by mathematical equality of their answers, and what each group weighs. Calls no engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from redraft import vote
from redraft.types import Calibration, Candidate, CriticState, Critique, Draft, Stage, Verdict

CANCELLED = "cancelled"
"""Finish reason of a response that was stopped because nothing depended on it any more, or because a budget was met."""


class Checker(Protocol):
    """What a loop asks of an answer checker."""

    def extract(self, response: str) -> str | None: ...

    async def is_equal(self, gold: str, pred: str) -> bool: ...


def in_doubt(critiques: Sequence[Critique]) -> list[Critique]:
    """The critiques whose responses deserve a revision, of one for each answer.

    Answers that differ exclude each other: besides those judged incorrect, all that are judged correct but the most believed one.
    """
    believed = [c for c in critiques if c.verdict is Verdict.CORRECT]
    best = max(believed, key=lambda c: (c.p_correct or 0.0, -c.draft), default=None)
    return [c for c in critiques if c.verdict is not Verdict.ABSTAIN and c is not best]


class Ballot:
    """Every draft, revision and critique so far. `calibration` says how far the critic is trusted; None moves no vote."""

    def __init__(self, checker: Checker, calibration: Calibration | None) -> None:
        self.drafts: dict[int, Draft] = {}
        self.critiques: list[Critique] = []
        self._checker = checker
        self._calibration = calibration
        self._groups: vote.Groups = []
        self._placing = asyncio.Lock()

    async def add(self, draft: Draft) -> Draft:
        """Read the answer of a whole response and let it join its group. A truncated one has no answer: it votes nothing."""
        if draft.finish_reason != "length":
            draft = replace(draft, answer=self._checker.extract(draft.content))
        async with self._placing:
            if draft.answer is not None:
                answers = {i: d.answer for i, d in self.drafts.items() if d.answer is not None} | {draft.index: draft.answer}
                await vote.place(self._groups, answers, draft.index, self._checker.is_equal)
            self.drafts[draft.index] = draft
        return draft

    def add_cut(self, draft: Draft) -> Draft:
        """Keep what was written of a response that was cut off, without an answer."""
        cut = replace(draft, answer=None, finish_reason=CANCELLED)
        self.drafts[draft.index] = cut
        return cut

    def __len__(self) -> int:
        """How many answers differ."""
        return len(self._groups)

    def decided(self, outstanding: int, *, swing: float, confidence: float) -> bool:
        """True when no further draft is worth waiting for: see `vote.decided`."""
        return vote.decided(self._weights(), outstanding, swing=swing, confidence=confidence)

    def representatives(self) -> list[int]:
        """The first response of each answer, the heaviest answer first."""
        return [min(group) for group in self._ranked()]

    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(Candidate(self.drafts[min(group)].answer or "", tuple(sorted(group)), self._weight(group)) for group in self._ranked())

    def chosen(self) -> int | None:
        """The response to return: the first of the winning answer. Without any answer, the first response that ended by itself, else the
        one that says most."""
        if self._groups:
            return self.representatives()[0]
        whole = [i for i in sorted(self.drafts) if self.drafts[i].finish_reason not in {CANCELLED, "length"}]
        return whole[0] if whole else max(sorted(self.drafts), key=lambda i: len(self.drafts[i].content), default=None)

    def critic_state(self) -> CriticState:
        if not self.critiques:
            return CriticState.UNUSED
        return CriticState.UNCALIBRATED if self._calibration is None else CriticState.CALIBRATED

    def _weights(self) -> list[float]:
        return [self._weight(group) for group in self._groups]

    def _weight(self, group: list[int]) -> float:
        drafts = sum(1.0 for i in group if self.drafts[i].stage is Stage.SOLVE)
        members = set(group)
        fresh = [i for i in group if self.drafts[i].stage is Stage.REVISE and self.drafts[i].parent not in members]
        revisions = len(fresh) * vote.revision_weight(self._calibration)
        if not drafts and len(fresh) < 2:
            revisions = 0.0
        verdicts = 0.0
        if self._calibration is not None:
            verdicts = sum(vote.llr(self._calibration, c.verdict) for c in self.critiques if c.draft == min(group))
        return drafts + revisions + verdicts

    def _ranked(self) -> list[list[int]]:
        weights = self._weights()
        order = sorted(range(len(self._groups)), key=lambda g: (-weights[g], min(self._groups[g])))
        return [self._groups[g] for g in order]
