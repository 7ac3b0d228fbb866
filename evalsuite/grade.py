"""Turns a reply into judged answers: extract, check each response, vote. Asks a `Checker`; knows no files and no transport."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

from evalsuite.ask import Reply, Response, drafts_of
from evalsuite.config import Strategy
from redraft import vote
from redraft.types import Verdict


class Outcome(StrEnum):
    """What became of one response, or of the answer that a strategy settled on. All of them are the model's doing."""

    RIGHT = "right"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    """It ended by itself, and there is no answer in it; or a critic abstained."""
    TRUNCATED = "truncated"
    """It met the token limit before it gave an answer. One that gave an answer and went on to the limit is right or wrong."""
    NO_GOLD = "no_gold"
    """The problem has references for a text metric and no gold answer: there is nothing to be right about."""


class Judged(Protocol):
    """What grading reads of a checker's verdict."""

    @property
    def equal(self) -> bool: ...
    @property
    def how(self) -> str: ...
    @property
    def reason(self) -> str | None: ...


class Checker(Protocol):
    """Extracts answers and says whether two are the same. `evalsuite.checker` is one."""

    def extract(self, response: str) -> str | None: ...
    async def check(self, gold: str, pred: str) -> Judged: ...


class MathChecker:
    """`evalsuite.checker` behind the protocol. Imported on first use, so that command lines stay quick."""

    def __init__(self) -> None:
        from evalsuite import checker

        self._checker = checker

    def extract(self, response: str) -> str | None:
        return self._checker.extract(response)

    async def check(self, gold: str, pred: str) -> Judged:
        return await self._checker.check_async(gold, pred)


@dataclass(frozen=True, slots=True)
class Mark:
    """The judgement of one answer. `how` and `reason` are the checker's own words."""

    answer: str | None
    outcome: Outcome
    how: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Grade:
    """The judgement of a whole reply: each response by itself, and the answer the strategy settled on."""

    marks: tuple[Mark, ...]
    """One for each response; for `loop` one for each draft and revision of the transcript."""
    final: Mark
    groups: tuple[tuple[int, ...], ...]
    """Positions of responses with equal answers; a vote counts these."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def grade(strategy: Strategy, gold: str, reply: Reply, checker: Checker) -> Grade:
    """Judge every response of `reply` against `gold`."""
    if strategy is Strategy.CRITIQUE:
        mark = _verdict_mark(gold, reply.answer)
        return Grade((mark,), mark, ((0,),))
    if not gold:
        mark = Mark(None, Outcome.NO_GOLD)
        return Grade((mark,) * len(reply.responses), mark, ())
    if strategy is Strategy.LOOP:
        drafts = [await _mark(gold, step.get("answer"), str(step.get("finish_reason")), checker) for step in drafts_of(reply.detail)]
        final = await _mark(gold, reply.answer, "stop", checker)
        return Grade(tuple(drafts), final, ())
    marks = [await _mark(gold, _extract(response, checker), response.finish_reason, checker) for response in reply.responses]
    groups = await _groups(marks, checker)
    final = _elected(marks, groups) if strategy in (Strategy.VOTE, Strategy.ADAPTIVE) else marks[0]
    return Grade(tuple(marks), final, tuple(tuple(group) for group in groups))


def _verdict_mark(label: str, verdict: str | None) -> Mark:
    if verdict == Verdict.ABSTAIN:
        return Mark(verdict, Outcome.NO_ANSWER)
    return Mark(verdict, Outcome.RIGHT if verdict == label else Outcome.WRONG)


def _extract(response: Response, checker: Checker) -> str | None:
    return checker.extract(response.content) if response.content.strip() else None


async def _mark(gold: str, answer: str | None, finish_reason: str, checker: Checker) -> Mark:
    if answer is None:
        return Mark(None, Outcome.TRUNCATED if finish_reason == "length" else Outcome.NO_ANSWER)
    verdict = await checker.check(gold, answer)
    return Mark(answer, Outcome.RIGHT if verdict.equal else Outcome.WRONG, verdict.how, verdict.reason)


async def _groups(marks: Sequence[Mark], checker: Checker) -> vote.Groups:
    if len(marks) == 1:
        return [[0]] if marks[0].answer is not None else []

    async def equal(a: str, b: str) -> bool:
        return (await checker.check(a, b)).equal

    return await vote.cluster([mark.answer for mark in marks], equal)


def _elected(marks: Sequence[Mark], groups: vote.Groups) -> Mark:
    """The mark of the largest group's first member; when no response has an answer, that of the first response."""
    chosen = vote.winner(groups, [len(group) for group in groups])
    return marks[0] if chosen is None else marks[groups[chosen][0]]
