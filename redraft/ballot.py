"""The responses of one loop, grouped by mathematical equality of their answers, and what each group weighs. Calls no engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from redraft import vote
from redraft.types import Calibration, Candidate, Critique, Draft, Stage, Verdict

CANCELLED = "cancelled"
"""Finish reason of a response that was stopped because nothing depended on it any more, or because a budget was met."""
SUPPORTERS = 2
"""An answer that no draft gave before the critic spoke needs so many."""
DIGITS = 9
"""Weights that differ by less are a tie: the order in which numbers were added up decides nothing."""


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
    """Every draft, revision and critique so far. `calibration` says how far the critic is trusted; None moves no vote.

    What joins after `close` (revisions, and drafts that were drawn because every answer was judged wrong) was caused by the critic: it
    votes only where the critic is trusted, and brings no new answer by itself.
    """

    def __init__(self, checker: Checker, calibration: Calibration | None) -> None:
        self.drafts: dict[int, Draft] = {}
        self.critiques: list[Critique] = []
        self._checker = checker
        self._calibration = calibration
        self._groups: vote.Groups = []
        self._placing = asyncio.Lock()
        self._late: int | None = None

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

    def close(self) -> None:
        """The drafts are drawn; from here on the critic's word decides what is written."""
        self._late = len(self.drafts)

    def __len__(self) -> int:
        """How many answers differ."""
        return len(self._groups)

    def decided(self, outstanding: int, *, swing: float, confidence: float) -> bool:
        """True when no further draft is worth waiting for: see `vote.decided`."""
        weights = [self._weight(group) for group in self._groups]
        return vote.decided(weights, outstanding, swing=swing, confidence=confidence)

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

    def _is_late(self, index: int) -> bool:
        return self._late is not None and index >= self._late

    def _early(self, group: list[int]) -> int:
        """The votes that an answer had before the critic spoke."""
        return sum(not self._is_late(i) for i in group)

    def _supporters(self, group: list[int]) -> int:
        """The votes that came after it. A revision that repeats the answer of what it revises is no second witness."""
        members = set(group)
        late = [self.drafts[i] for i in group if self._is_late(i)]
        return sum(draft.stage is Stage.SOLVE or draft.parent not in members for draft in late)

    def _stands(self, group: list[int]) -> bool:
        """Whether an answer may win: a draft gave it, or it is new and has the supporters that it needs."""
        return self._early(group) > 0 or (self._calibration is not None and self._supporters(group) >= SUPPORTERS)

    def _weight(self, group: list[int]) -> float:
        weight = float(self._early(group))
        if self._calibration is None:
            return weight
        if self._stands(group):
            weight += self._supporters(group)
        on = [(c.draft, verdict) for c in self.critiques if c.draft in group for verdict in c.verdicts or (c.verdict,)]
        return weight + vote.evidence(self._calibration, on)

    def _ranked(self) -> list[list[int]]:
        """Answers that may win first, by weight; ties go to the earliest response: the greedy draft's answer."""
        return sorted(self._groups, key=lambda group: (not self._stands(group), -round(self._weight(group), DIGITS), min(group)))
