"""solve -> critique -> revise, as coroutines over an engine. Knows no HTTP and no vLLM.

A greedy draft and sampled ones are drawn side by side, then more in small batches, and grouped by mathematical equality as they arrive;
drawing stops when nothing outstanding could change the winner, or the leading answer is ahead with the asked confidence. Only when
drafts disagree to the end is the critic asked, once for each answer. A calibrated critic's verdicts move votes by their log-likelihood
ratio and its revisions join the vote; an uncalibrated critic is heard and shown but moves nothing, so the loop is then adaptive majority
voting. A revision never overwrites: a new answer needs two supporters, and a revision that repeats its draft's answer is no second
witness. Budgets are hard, and whatever stops the loop, the best answer so far is returned.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from redraft import prompts, vote
from redraft.accounts import Accounts
from redraft.ballot import CANCELLED, Ballot, Checker, in_doubt
from redraft.budget import Budget, Exhausted
from redraft.critic import CALLS as CRITIQUE_CALLS
from redraft.critic import CriticCall, Judgement
from redraft.engine import Engine, Generation
from redraft.errors import BadRequest, RedraftError
from redraft.events import Emit, OnCall, StepEnded, StepStarted, StepText, VoteMoved
from redraft.types import Calibration, Critique, Draft, LoopResult, Message, Stage, Stop, Verdict

T = TypeVar("T")

MAX_JUDGED = 4
"""At most so many answers are judged in a round, the heaviest first."""


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


def derived_seed(seed: int | None, stage: Stage, index: int) -> int | None:
    """A seed of its own for each call. Engines seed the k-th completion of a request with seed + k: near seeds would share drafts."""
    if seed is None:
        return None
    return int.from_bytes(hashlib.sha256(f"{seed}/{stage.value}/{index}".encode()).digest()[:4])


class _Decided(Exception):
    """Ends the drawing of drafts: not an error."""


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
        self.engine, self.messages, self.problem = engine, messages, problem
        self.model, self.critic, self.options, self.calibration = model, critic, options, calibration
        self.budget = Budget(max_tokens=options.max_tokens, max_calls=options.max_calls, deadline_s=options.deadline_s)
        self.accounts = Accounts(self.budget, on_call)
        self.ballot = Ballot(checker, calibration)
        self.warnings: list[str] = []
        self.emit = emit

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
        stop, open_vote = await self._solve()
        if not open_vote:
            return stop
        judged: set[int] = set()
        for _ in range(self.options.rounds):
            waiting = [index for index in self.ballot.representatives() if index not in judged][:MAX_JUDGED]
            if not waiting:
                return stop
            judged.update(waiting)
            stop = Stop.ROUNDS
            verdicts = await self._together([self._judge(index) for index in waiting])
            self._vote()
            doubted = in_doubt([c for c in verdicts if c is not None])
            first = len(self.ballot.drafts)
            await self._together([self._revise(critique, first + k) for k, critique in enumerate(doubted)])
            self._vote()
        return stop

    # -- solve ---------------------------------------------------------------------------------------------------------------

    async def _solve(self) -> tuple[Stop, bool]:
        """Draw drafts, batch by batch. Returns why it ended, and whether the vote is still open."""
        options = self.options
        while (first := len(self.ballot.drafts)) < options.drafts:
            n, each = self.budget.reserve(want=options.response_tokens, n=min(options.batch, options.drafts - first))
            requests = self._requests(first, n, each)
            try:
                decided = await self._draw(first, n, requests)
            except RedraftError as error:
                if not any(draft.finish_reason != CANCELLED for draft in self.ballot.drafts.values()):
                    raise
                self.warnings.append(f"the engine failed while drafts were written: {error.message}")
                return Stop.ENGINE_FAILED, False
            if decided:
                return Stop.SETTLED, False
        if len(self.ballot) > 1:
            return Stop.SETTLED, True
        return (Stop.AGREED if len(self.ballot) else Stop.NO_ANSWER), False

    def _requests(self, first: int, n: int, each: int) -> list[tuple[int, Generation]]:
        """One batch as requests, each with the index of its first draft: the loop's very first draft is greedy, all others are sampled."""
        options = self.options
        sampled = Generation(
            messages=self.messages,
            model=self.model,
            max_tokens=each,
            n=n,
            temperature=options.temperature,
            seed=derived_seed(options.seed, Stage.SOLVE, first),
        )
        if first or n == 1 or not self.budget.take_call():
            return [(first, sampled)]
        return [(0, replace(sampled, n=1, temperature=0.0, seed=None)), (1, replace(sampled, n=n - 1))]

    async def _draw(self, first: int, n: int, requests: Sequence[tuple[int, Generation]]) -> bool:
        """Read a batch as it is written. True when the vote is decided; what was still being written is then cancelled."""
        texts = dict.fromkeys(range(first, first + n), "")
        for index in texts:
            self.emit(StepStarted(Stage.SOLVE, index))
        decided = False
        failures: list[RedraftError] = []
        try:
            async with asyncio.TaskGroup() as group:
                for start, request in requests:
                    group.create_task(self._read(start, request, texts))
        except* _Decided:
            decided = True
        except* RedraftError as failed:
            failures += [error for error in failed.exceptions if isinstance(error, RedraftError)]
        finally:
            for index in texts.keys() - self.ballot.drafts.keys():
                self._ended(self.ballot.add_cut(Draft(index, texts[index], None, CANCELLED)))
        if failures and not decided:
            raise failures[0]
        return decided

    async def _read(self, start: int, request: Generation, texts: dict[int, str]) -> None:
        options = self.options
        swing = vote.swing(self.calibration) if options.rounds else 0.0
        async with self.accounts.call(self.engine, Stage.SOLVE, request, reserved=request.n * request.max_tokens) as chunks:
            async for chunk in chunks:
                index = start + chunk.index
                if chunk.text:
                    texts[index] += chunk.text
                    self._text(Stage.SOLVE, index, chunk.text)
                if chunk.finish_reason is None:
                    continue
                self._ended(await self.ballot.add(Draft(index, texts[index], None, chunk.finish_reason)))
                self._vote()
                outstanding = options.drafts - len(self.ballot.drafts)
                if outstanding and self.ballot.decided(outstanding, swing=swing, confidence=options.confidence):
                    raise _Decided

    def _ended(self, draft: Draft) -> None:
        self.emit(StepEnded(draft.stage, draft.index, draft=draft))

    # -- critique and revise -------------------------------------------------------------------------------------------------

    async def _judge(self, index: int) -> Critique | None:
        _, each = self.budget.reserve(want=self.options.critique_tokens, calls=CRITIQUE_CALLS)
        call = CriticCall(self.engine, model=self.critic, max_tokens=each)
        start = self.budget.elapsed()
        self.emit(StepStarted(Stage.CRITIQUE, index))
        critique = Critique(index, "", Verdict.ABSTAIN, None, "the critique was cut off")
        try:
            judgement = await call.run(
                self.problem, self.ballot.drafts[index].content, lambda text: self._text(Stage.CRITIQUE, index, text)
            )
            critique = Critique(index, judgement.text, self._verdict(judgement), judgement.p_correct, judgement.reason)
        except RedraftError as error:
            critique = replace(critique, reason=f"the critic failed: {error.message}")
        finally:
            self.accounts.close(Stage.CRITIQUE, start, each, call.usage)
            self.ballot.critiques.append(critique)
            self.emit(StepEnded(Stage.CRITIQUE, index, critique=critique))
        return critique

    def _verdict(self, judgement: Judgement) -> Verdict:
        """A calibrated critic's belief is read at its own threshold, not at one half."""
        if self.calibration is None or judgement.p_correct is None:
            return judgement.verdict
        return Verdict.CORRECT if judgement.p_correct >= self.calibration.threshold else Verdict.INCORRECT

    async def _revise(self, critique: Critique, index: int) -> None:
        options, parent = self.options, self.ballot.drafts[critique.draft]
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
            async with self.accounts.call(self.engine, Stage.REVISE, request, reserved=each) as chunks:
                async for chunk in chunks:
                    draft = replace(draft, content=draft.content + chunk.text, finish_reason=chunk.finish_reason or CANCELLED)
                    if chunk.text:
                        self._text(Stage.REVISE, index, chunk.text)
            self._ended(await self.ballot.add(draft))
        except RedraftError as error:
            self.warnings.append(f"revision {index} of draft {parent.index} failed: {error.message}")
        finally:
            if index not in self.ballot.drafts:
                self._ended(self.ballot.add_cut(draft))

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

    # -- what is told and returned -------------------------------------------------------------------------------------------

    def _vote(self) -> None:
        self.emit(VoteMoved(self.ballot.candidates()))

    def _text(self, stage: Stage, index: int, text: str) -> None:
        self.accounts.text_came()
        self.emit(StepText(stage, index, text))

    def _result(self, stop: Stop) -> LoopResult:
        ballot, accounts = self.ballot, self.accounts
        candidates, chosen = ballot.candidates(), ballot.chosen()
        return LoopResult(
            answer=candidates[0].answer if candidates else None,
            content=ballot.drafts[chosen].content if chosen is not None else "",
            chosen=chosen,
            stop=stop,
            critic=ballot.critic_state(),
            drafts=tuple(ballot.drafts[i] for i in sorted(ballot.drafts)),
            critiques=tuple(ballot.critiques),
            candidates=candidates,
            usage=accounts.total(),
            usage_by_stage=dict(accounts.usage),
            timing=tuple(accounts.timing),
            wall_s=self.budget.elapsed(),
            ttft_s=accounts.ttft_s,
            warnings=tuple(self.warnings),
        )


def with_overrides(options: LoopOptions, **changes: object) -> LoopOptions:
    """`options` with the given fields, None left as it is."""
    return replace(options, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
