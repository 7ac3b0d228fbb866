"""solve -> critique -> revise, as coroutines over an engine. Knows no HTTP and no vLLM.

Drafts are sampled in one request and grouped by mathematical equality as they arrive; sampling stops when nothing outstanding could
change the winner. Only when whole drafts disagree is the critic asked, once for each answer. A calibrated critic's verdicts move votes by
their log-likelihood ratio and its revisions join the vote; an uncalibrated critic is heard and shown but moves nothing, so the loop
is then majority voting. A revision never overwrites: a new answer needs two supporters, and a revision that repeats its draft's
answer is no second witness. Answers that differ exclude each other, so at most one of them goes unrevised. Budgets are hard, and
whatever stops the loop, the best answer so far is returned.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from redraft import prompts, vote
from redraft.budget import Budget, Exhausted
from redraft.critic import CALLS as CRITIQUE_CALLS
from redraft.critic import CriticCall
from redraft.engine import Chunk, Engine, Generation
from redraft.errors import BadRequest, RedraftError
from redraft.types import (
    Calibration,
    Candidate,
    CriticState,
    Critique,
    Draft,
    LoopResult,
    Message,
    Stage,
    StageTiming,
    Stop,
    Usage,
    Verdict,
)

T = TypeVar("T")

CANCELLED = "cancelled"
"""Finish reason of a response that was stopped because nothing depended on it any more, or because a budget was met."""
MAX_JUDGED = 4
"""At most so many answers are judged in a round, the heaviest first."""


class Checker(Protocol):
    """What the loop asks of an answer checker."""

    def extract(self, response: str) -> str | None: ...

    async def is_equal(self, gold: str, pred: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How much a loop may do. All budgets hold for all its stages together."""

    drafts: int = 5
    rounds: int = 1
    """Rounds of critique and revision after the drafts; 0 is plain early-stopped voting."""
    max_tokens: int = 8192
    """Generated tokens in all."""
    max_calls: int = 64
    deadline_s: float | None = None
    temperature: float = 0.7
    seed: int | None = None
    response_tokens: int = 1024
    """The longest draft or revision."""
    critique_tokens: int = 384
    """The longest critique."""


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


def last_problem(messages: Sequence[Message]) -> str:
    """The problem a conversation asks: its last user message, with what was said before it when there was more than that."""
    if not messages or messages[-1]["role"] != "user":
        raise BadRequest("the last message must come from the user", param="messages")
    earlier = [m for m in messages[:-1] if m["role"] != "system"]
    problem = messages[-1]["content"]
    if not earlier:
        return problem
    said = "\n\n".join(f"{m['role']}: {m['content']}" for m in earlier)
    return f"{said}\n\nuser: {problem}"


async def run(
    engine: Engine,
    checker: Checker,
    messages: Sequence[Message],
    *,
    model: str,
    critic: str,
    options: LoopOptions,
    calibration: Calibration | None = None,
    emit: Emit = lambda event: None,
    on_call: OnCall = lambda stage, seconds, usage: None,
) -> LoopResult:
    """Run one loop. `emit` gets each event as it happens; cancelling the coroutine cancels all inner work.

    Raises a typed error only when there is no draft to return.
    """
    work = _Loop(
        engine=engine,
        checker=checker,
        messages=prompts.with_solve_system(messages),
        problem=last_problem(messages),
        model=model,
        critic=critic,
        options=options,
        calibration=calibration,
        emit=emit,
        on_call=on_call,
    )
    return await work.run()


def in_doubt(critiques: Sequence[Critique]) -> list[Critique]:
    """The critiques whose responses deserve a revision, of one for each answer.

    Answers that differ exclude each other: besides those judged incorrect, all that are judged correct but the most believed one.
    """
    believed = [c for c in critiques if c.verdict is Verdict.CORRECT]
    best = max(believed, key=lambda c: (c.p_correct or 0.0, -c.draft), default=None)
    return [c for c in critiques if c.verdict is not Verdict.ABSTAIN and c is not best]


def derived_seed(seed: int | None, stage: Stage, index: int) -> int | None:
    """A seed of its own for each call. Engines seed the k-th completion of a request with seed + k: near seeds would share drafts."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"{seed}/{stage.value}/{index}".encode()).digest()[:4])


class _Loop:
    """The state of one run."""

    def __init__(
        self,
        *,
        engine: Engine,
        checker: Checker,
        messages: prompts.Messages,
        problem: str,
        model: str,
        critic: str,
        options: LoopOptions,
        calibration: Calibration | None,
        emit: Emit,
        on_call: OnCall,
    ) -> None:
        self.engine, self.checker, self.messages, self.problem = engine, checker, messages, problem
        self.model, self.critic, self.options, self.calibration = model, critic, options, calibration
        self.budget = Budget(max_tokens=options.max_tokens, max_calls=options.max_calls, deadline_s=options.deadline_s)
        self.drafts: dict[int, Draft] = {}
        self.critiques: list[Critique] = []
        self.groups: vote.Groups = []
        self.usage: dict[Stage, Usage] = dict.fromkeys(Stage, Usage())
        self.timing: list[StageTiming] = []
        self.warnings: list[str] = []
        self.ttft_s: float | None = None
        self.emit, self.on_call = emit, on_call
        self._placing = asyncio.Lock()

    async def run(self) -> LoopResult:
        try:
            async with asyncio.timeout(self.options.deadline_s):
                stop = await self._stages()
        except Exhausted as limit:
            stop = limit.stop
        except TimeoutError:
            stop = Stop.DEADLINE
        return self._result(stop)

    async def _stages(self) -> Stop:
        stop = await self._solve()
        if stop is Stop.ENGINE_FAILED or (stop is Stop.SETTLED and self._cancelled()):
            return stop
        judged: set[int] = set()
        for _ in range(self.options.rounds):
            if len(self.groups) < 2:
                return stop
            waiting = [min(g) for g in self._ranked() if min(g) not in judged][:MAX_JUDGED]
            if not waiting:
                return stop
            judged.update(waiting)
            stop = Stop.ROUNDS
            verdicts = await self._together([self._judge(index) for index in waiting])
            self._vote()
            doubted = in_doubt([c for c in verdicts if c is not None])
            await self._together([self._revise(critique, len(self.drafts) + k) for k, critique in enumerate(doubted)])
            self._vote()
        return stop

    # -- solve ---------------------------------------------------------------------------------------------------------------

    async def _solve(self) -> Stop:
        options = self.options
        n, each = self.budget.reserve(want=options.response_tokens, n=options.drafts)
        request = Generation(
            messages=self.messages,
            model=self.model,
            max_tokens=each,
            n=n,
            temperature=options.temperature,
            seed=derived_seed(options.seed, Stage.SOLVE, 0),
        )
        texts = [""] * n
        for index in range(n):
            self.emit(StepStarted(Stage.SOLVE, index))
        early = failed = False
        try:
            early = await self._draw(request, n * each, texts)
        except RedraftError as error:
            if not self.drafts:
                raise
            failed = True
            self.warnings.append(f"the engine failed while drafts were written: {error.message}")
        finally:
            for index in range(n):
                if index not in self.drafts:
                    self._record(Draft(index, texts[index], None, CANCELLED))
        if failed:
            return Stop.ENGINE_FAILED
        if not self.groups:
            return Stop.NO_ANSWER
        if len(self.groups) == 1 and not early:
            return Stop.AGREED
        return Stop.SETTLED

    async def _draw(self, request: Generation, reserved: int, texts: list[str]) -> bool:
        """Read drafts as they are written, `texts` keeping what each has so far. True when the rest was cancelled: the vote is settled."""
        swing = vote.swing(self.calibration) if self.options.rounds else 0.0
        async with self._call(Stage.SOLVE, reserved, request) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    texts[chunk.index] += chunk.text
                    self._text(Stage.SOLVE, chunk.index, chunk.text)
                if chunk.finish_reason is None:
                    continue
                await self._finish(Draft(chunk.index, texts[chunk.index], None, chunk.finish_reason))
                self._vote()
                outstanding = request.n - len(self.drafts)
                if outstanding and vote.settled(self._weights(), outstanding + swing):
                    return True
        return False

    def _cancelled(self) -> bool:
        return any(draft.finish_reason == CANCELLED for draft in self.drafts.values())

    async def _finish(self, draft: Draft) -> None:
        """Read the answer of a whole response and let it join its group. A truncated one has no answer: it votes nothing."""
        if draft.finish_reason != "length":
            draft = replace(draft, answer=self.checker.extract(draft.content))
        async with self._placing:
            if draft.answer is not None:
                answers = {i: d.answer for i, d in self.drafts.items() if d.answer is not None} | {draft.index: draft.answer}
                await vote.place(self.groups, answers, draft.index, self.checker.is_equal)
            self._record(draft)

    def _record(self, draft: Draft) -> None:
        self.drafts[draft.index] = draft
        self.emit(StepEnded(draft.stage, draft.index, draft=draft))

    # -- critique and revise -------------------------------------------------------------------------------------------------

    async def _judge(self, index: int) -> Critique | None:
        _, each = self.budget.reserve(want=self.options.critique_tokens, calls=CRITIQUE_CALLS)
        call = CriticCall(self.engine, model=self.critic, max_tokens=each)
        start = self.budget.elapsed()
        self.emit(StepStarted(Stage.CRITIQUE, index))
        critique = Critique(index, "", Verdict.ABSTAIN, None, "the critique was cut off")
        try:
            judgement = await call.run(self.problem, self.drafts[index].content, lambda text: self._text(Stage.CRITIQUE, index, text))
            critique = Critique(index, judgement.text, judgement.verdict, judgement.p_correct, judgement.reason)
        except RedraftError as error:
            critique = replace(critique, reason=f"the critic failed: {error.message}")
        finally:
            self._account(Stage.CRITIQUE, start, each, call.usage)
            self.critiques.append(critique)
            self.emit(StepEnded(Stage.CRITIQUE, index, critique=critique))
        return critique

    async def _revise(self, critique: Critique, index: int) -> None:
        options, parent = self.options, self.drafts[critique.draft]
        _, each = self.budget.reserve(want=options.response_tokens)
        request = Generation(
            messages=prompts.revise_messages(self.messages, parent.content, critique.text),
            model=self.model,
            max_tokens=each,
            temperature=options.temperature,
            seed=derived_seed(options.seed, Stage.REVISE, index),
        )
        self.emit(StepStarted(Stage.REVISE, index, parent.index))
        draft = Draft(index, "", None, CANCELLED, Stage.REVISE, parent.index)
        try:
            async with self._call(Stage.REVISE, each, request) as chunks:
                async for chunk in chunks:
                    draft = replace(draft, content=draft.content + chunk.text, finish_reason=chunk.finish_reason or CANCELLED)
                    if chunk.text:
                        self._text(Stage.REVISE, index, chunk.text)
            await self._finish(draft)
        except RedraftError as error:
            self.warnings.append(f"revision {index} of draft {parent.index} failed: {error.message}")
        finally:
            if index not in self.drafts:
                self._record(replace(draft, finish_reason=CANCELLED))

    async def _together(self, steps: Sequence[Awaitable[T]]) -> list[T | None]:
        """Run steps side by side. One that finds no budget is left out; when none finds any, the limit is raised."""

        async def guarded(step: Awaitable[T]) -> T | Exhausted:
            try:
                return await step
            except Exhausted as limit:
                return limit

        if not steps:
            return []
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(guarded(step)) for step in steps]
        outcomes = [task.result() for task in tasks]
        limits = [o for o in outcomes if isinstance(o, Exhausted)]
        if len(limits) == len(outcomes):
            raise limits[0]
        return [None if isinstance(o, Exhausted) else o for o in outcomes]

    # -- the vote ------------------------------------------------------------------------------------------------------------

    def _weights(self) -> list[float]:
        return [self._weight(group) for group in self.groups]

    def _weight(self, group: list[int]) -> float:
        drafts = sum(1.0 for i in group if self.drafts[i].stage is Stage.SOLVE)
        members = set(group)
        fresh = [i for i in group if self.drafts[i].stage is Stage.REVISE and self.drafts[i].parent not in members]
        revisions = len(fresh) * vote.revision_weight(self.calibration)
        if not drafts and len(fresh) < 2:
            revisions = 0.0
        verdicts = 0.0
        if self.calibration is not None:
            verdicts = sum(vote.llr(self.calibration, c.verdict) for c in self.critiques if c.draft == min(group))
        return drafts + revisions + verdicts

    def _ranked(self) -> list[list[int]]:
        weights = self._weights()
        order = sorted(range(len(self.groups)), key=lambda g: (-weights[g], min(self.groups[g])))
        return [self.groups[g] for g in order]

    def _vote(self) -> None:
        self.emit(VoteMoved(self._candidates()))

    def _candidates(self) -> tuple[Candidate, ...]:
        return tuple(Candidate(self.drafts[min(group)].answer or "", tuple(sorted(group)), self._weight(group)) for group in self._ranked())

    # -- accounts ------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _call(self, stage: Stage, reserved: int, request: Generation) -> AsyncIterator[AsyncIterator[Chunk]]:
        start = self.budget.elapsed()
        used = Usage(calls=1)
        try:
            async with self.engine.stream(request) as stream:
                try:
                    yield aiter(stream)
                finally:
                    used = stream.usage
        finally:
            self._account(stage, start, reserved, used)

    def _account(self, stage: Stage, start: float, reserved: int, used: Usage) -> None:
        self.budget.settle(reserved=reserved, used=used.completion_tokens)
        self.usage[stage] += used
        end = self.budget.elapsed()
        self.timing.append(StageTiming(stage, start, end))
        self.on_call(stage, end - start, used)

    def _text(self, stage: Stage, index: int, text: str) -> None:
        if self.ttft_s is None:
            self.ttft_s = self.budget.elapsed()
        self.emit(StepText(stage, index, text))

    def _result(self, stop: Stop) -> LoopResult:
        candidates = self._candidates()
        chosen = candidates[0].members[0] if candidates else self._fallback()
        total = Usage()
        for used in self.usage.values():
            total += used
        return LoopResult(
            answer=candidates[0].answer if candidates else None,
            content=self.drafts[chosen].content if chosen is not None else "",
            chosen=chosen,
            stop=stop,
            critic=self._critic_state(),
            drafts=tuple(self.drafts[i] for i in sorted(self.drafts)),
            critiques=tuple(self.critiques),
            candidates=candidates,
            usage=total,
            usage_by_stage=dict(self.usage),
            timing=tuple(self.timing),
            wall_s=self.budget.elapsed(),
            ttft_s=self.ttft_s,
            warnings=tuple(self.warnings),
        )

    def _fallback(self) -> int | None:
        """Without any answer: the first response that ended by itself, else the one that says most."""
        if not self.drafts:
            return None
        whole = [i for i in sorted(self.drafts) if self.drafts[i].finish_reason not in {CANCELLED, "length"}]
        return whole[0] if whole else max(sorted(self.drafts), key=lambda i: len(self.drafts[i].content))

    def _critic_state(self) -> CriticState:
        if not self.critiques:
            return CriticState.UNUSED
        return CriticState.UNCALIBRATED if self.calibration is None else CriticState.CALIBRATED


def with_overrides(options: LoopOptions, **changes: object) -> LoopOptions:
    """`options` with the given fields, None left as it is."""
    return replace(options, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
