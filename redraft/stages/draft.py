"""The first stage: a greedy draft and sampled ones side by side, more in batches, for as long as the vote is open."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from redraft import vote
from redraft.ballot import CANCELLED
from redraft.engine import Generation
from redraft.errors import RedraftError
from redraft.events import StepStarted
from redraft.options import derived_seed
from redraft.stages.work import Work
from redraft.types import Draft, Stage, Stop


@dataclass(frozen=True, slots=True)
class Drawn:
    """Why drawing ended, and whether the vote is still open."""

    stop: Stop
    open: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as requests, each with the index of its first draft."""

    first: int
    n: int
    requests: tuple[tuple[int, Generation], ...]


class _Decided(Exception):
    """Ends the drawing of drafts: not an error."""


async def draw(work: Work) -> Drawn:
    """Draw drafts, batch by batch."""
    options = work.options
    while (first := len(work.ballot.drafts)) < options.drafts:
        n, each = work.budget.reserve(want=options.response_tokens, n=min(options.batch, options.drafts - first))
        try:
            decided = await _batch(work, _requests(work, first, n, each))
        except RedraftError as error:
            if not any(draft.finish_reason != CANCELLED for draft in work.ballot.drafts.values()):
                raise
            work.warnings.append(f"the engine failed while drafts were written: {error.message}")
            return Drawn(Stop.ENGINE_FAILED, open=False)
        if decided:
            return Drawn(Stop.SETTLED, open=False)
    if len(work.ballot) > 1:
        return Drawn(Stop.SETTLED, open=True)
    return Drawn(Stop.AGREED if len(work.ballot) else Stop.NO_ANSWER, open=False)


def _requests(work: Work, first: int, n: int, each: int) -> Batch:
    """The loop's very first draft is greedy, all others are sampled."""
    options = work.options
    sampled = Generation(
        messages=work.messages,
        model=work.model,
        max_tokens=each,
        n=n,
        temperature=options.temperature,
        seed=derived_seed(options.seed, Stage.SOLVE, first),
    )
    if first or n == 1 or not work.budget.take_call():
        return Batch(first, n, ((first, sampled),))
    greedy = replace(sampled, n=1, temperature=0.0, seed=None)
    return Batch(first, n, ((0, greedy), (1, replace(sampled, n=n - 1))))


async def _batch(work: Work, batch: Batch) -> bool:
    """Read a batch as it is written. True when the vote is decided; what was still being written is then cancelled."""
    texts = dict.fromkeys(range(batch.first, batch.first + batch.n), "")
    for index in texts:
        work.emit(StepStarted(Stage.SOLVE, index))
    decided = False
    failures: list[RedraftError] = []
    try:
        async with asyncio.TaskGroup() as group:
            for start, request in batch.requests:
                group.create_task(_read(work, start, request, texts))
    except* _Decided:
        decided = True
    except* RedraftError as failed:
        failures += _errors(failed.exceptions)
    finally:
        for index in texts.keys() - work.ballot.drafts.keys():
            work.ended(work.ballot.add_cut(Draft(index, texts[index], None, CANCELLED)))
    if failures and not decided:
        raise failures[0]
    return decided


def _errors(raised: Sequence[BaseException]) -> list[RedraftError]:
    return [error for error in raised if isinstance(error, RedraftError)]


async def _read(work: Work, start: int, request: Generation, texts: dict[int, str]) -> None:
    options = work.options
    swing = vote.swing(work.trusted) if options.rounds else 0.0
    async with work.accounts.call(work.engine, Stage.SOLVE, request, reserved=request.n * request.max_tokens) as chunks:
        async for chunk in chunks:
            index = start + chunk.index
            if chunk.text:
                texts[index] += chunk.text
                work.text(Stage.SOLVE, index, chunk.text)
            if chunk.finish_reason is None:
                continue
            work.ended(await work.ballot.add(Draft(index, texts[index], None, chunk.finish_reason)))
            work.voted()
            outstanding = options.drafts - len(work.ballot.drafts)
            if outstanding and work.ballot.decided(outstanding, swing=swing, confidence=options.confidence):
                raise _Decided
