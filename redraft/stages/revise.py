"""The third stage: what the critic doubts is solved again, its critique in the conversation, and where it doubts all, from anew too."""

from __future__ import annotations

from dataclasses import replace

from redraft import prompts
from redraft.ballot import CANCELLED
from redraft.engine import Generation
from redraft.errors import RedraftError
from redraft.events import StepStarted
from redraft.options import derived_seed
from redraft.stages.work import Work
from redraft.types import Critique, Draft, Stage


async def revise(work: Work, critique: Critique, index: int) -> None:
    """Write response `index`, a revision of the one that was judged. A failure is a warning. Raises Exhausted where no budget is left."""
    parent = work.ballot.drafts[critique.draft]
    messages = prompts.revise_messages(work.messages, parent.content, critique.text)
    await _write(work, messages, Draft(index, "", None, CANCELLED, Stage.REVISE, parent.index))


async def redraw(work: Work, index: int) -> None:
    """Write response `index`, a draft like the first ones: every answer so far was judged wrong. Fails and raises as `revise` does."""
    await _write(work, work.messages, Draft(index, "", None, CANCELLED))


async def _write(work: Work, messages: prompts.Messages, draft: Draft) -> None:
    options, index = work.options, draft.index
    _, each = work.budget.reserve(want=options.response_tokens)
    request = Generation(
        messages=messages,
        model=work.model,
        max_tokens=each,
        temperature=options.temperature,
        seed=derived_seed(options.seed, draft.stage, index),
    )
    work.emit(StepStarted(draft.stage, index, draft.parent))
    try:
        async with work.accounts.call(work.engine, draft.stage, request, reserved=each) as chunks:
            async for chunk in chunks:
                draft = replace(draft, content=draft.content + chunk.text, finish_reason=chunk.finish_reason or CANCELLED)
                if chunk.text:
                    work.text(draft.stage, index, chunk.text)
        work.ended(await work.ballot.add(draft))
    except RedraftError as error:
        what = f"draft {index}" if draft.parent is None else f"revision {index} of draft {draft.parent}"
        work.warnings.append(f"{what} failed: {error.message}")
    finally:
        if index not in work.ballot.drafts:
            work.ended(work.ballot.add_cut(draft))
