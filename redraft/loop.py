"""solve -> critique -> revise, as coroutines over an engine. Knows no HTTP and no vLLM.

A greedy draft and sampled ones are drawn side by side, then more in small batches, and grouped by mathematical equality as they arrive;
drawing stops when nothing outstanding could change the winner, or the leading answer is ahead with the asked confidence. Only when
drafts disagree to the end, and only a critic that was measured and pays, is asked, once for each answer; without one the loop is adaptive
majority voting, and says why. Verdicts move votes by their log-likelihood ratio and revisions join the vote; where every answer is judged
wrong, fresh drafts join too. Nothing is overwritten: a new answer needs two supporters, and a revision that repeats its draft's answer is
no second witness. Budgets are hard, and whatever stops the loop, the best answer so far is returned.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence

from redraft import prompts, vote
from redraft.accounts import Accounts
from redraft.ballot import Ballot, Checker, in_doubt
from redraft.budget import Budget, Exhausted
from redraft.engine import Engine
from redraft.errors import BadRequest, EngineTimeout, EngineUnavailable, RedraftError
from redraft.events import Emit, OnCall
from redraft.halt import Halt
from redraft.options import LoopOptions
from redraft.stages.draft import draw
from redraft.stages.judge import judge
from redraft.stages.revise import redraw, revise
from redraft.stages.work import Work
from redraft.together import within_budget
from redraft.types import Calibration, CriticState, Critique, LoopResult, Message, Stop, Verdict

RETRY_AFTER_S = 2.0
MAX_JUDGED = 4
"""At most so many answers are judged in a round, the heaviest first."""


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
    halt: Halt | None = None,
    emit: Emit = lambda event: None,
    on_call: OnCall = lambda stage, seconds, usage: None,
) -> LoopResult:
    """Run one loop. `emit` gets each event as it happens; cancelling the coroutine cancels all inner work, `halt` ends it with the best
    answer so far.

    Raises a typed error only when there is no draft to return.
    """
    halt = halt or Halt()
    trusted = calibration if vote.pays(calibration) else None
    budget = Budget(max_tokens=options.max_tokens, max_calls=options.max_calls, deadline_s=options.deadline_s)
    work = Work(
        engine=engine,
        messages=prompts.with_solve_system(messages),
        problem=last_problem(messages),
        model=model,
        critic=critic,
        options=options,
        calibration=calibration,
        trusted=trusted,
        budget=budget,
        accounts=Accounts(budget, on_call),
        ballot=Ballot(checker, trusted),
        emit=emit,
    )
    try:
        async with halt.within(options.deadline_s):
            stop = await _stages(work)
    except Exhausted as limit:
        stop = limit.stop
    except TimeoutError:
        stop = Stop.DRAINING if halt.called else Stop.DEADLINE
    if stop in {Stop.DEADLINE, Stop.DRAINING} and not any(draft.content for draft in work.ballot.drafts.values()):
        raise _nothing(stop)
    return _result(work, stop)


def _nothing(stop: Stop) -> RedraftError:
    """What a loop ends in that was cut off before the engine had written anything."""
    if stop is Stop.DEADLINE:
        return EngineTimeout("the engine had written nothing when the deadline passed")
    return EngineUnavailable("this server is shutting down: ask another", retry_after_s=RETRY_AFTER_S)


async def _stages(work: Work) -> Stop:
    drawn = await draw(work)
    work.ballot.close()
    asked = work.trusted is not None or work.options.critique == "always"
    stop, judged = drawn.stop, set[int]()
    for _ in range(work.options.rounds if drawn.open and asked else 0):
        waiting = [index for index in work.ballot.representatives() if index not in judged][:MAX_JUDGED]
        if not waiting:
            return stop
        judged.update(waiting)
        stop = Stop.ROUNDS
        verdicts = await within_budget([judge(work, index) for index in waiting])
        work.voted()
        await within_budget(_answers_to(work, verdicts))
        work.voted()
    return stop


def _answers_to(work: Work, verdicts: Sequence[Critique]) -> list[Coroutine[None, None, None]]:
    """What is written after a round of verdicts: a revision of each answer in doubt and, where all of them are wrong, as many drafts."""
    first, doubted = len(work.ballot.drafts), in_doubt(verdicts)
    steps = [revise(work, critique, first + k) for k, critique in enumerate(doubted)]
    if work.trusted is not None and all(critique.verdict is Verdict.INCORRECT for critique in verdicts):
        steps += [redraw(work, first + len(doubted) + k) for k in range(len(doubted))]
    return steps


def _critic_state(work: Work) -> CriticState:
    """How the critic's word was used, or why it was not."""
    if not work.options.rounds:
        return CriticState.UNUSED
    if work.calibration is None:
        return CriticState.UNCALIBRATED
    if work.trusted is None:
        return CriticState.BELOW_BREAK_EVEN
    return CriticState.CALIBRATED if work.ballot.critiques else CriticState.UNUSED


def _result(work: Work, stop: Stop) -> LoopResult:
    ballot, accounts = work.ballot, work.accounts
    candidates, chosen = ballot.candidates(), ballot.chosen()
    return LoopResult(
        answer=candidates[0].answer if candidates else None,
        content=ballot.drafts[chosen].content if chosen is not None else "",
        chosen=chosen,
        stop=stop,
        critic=_critic_state(work),
        drafts=tuple(ballot.drafts[i] for i in sorted(ballot.drafts)),
        critiques=tuple(ballot.critiques),
        candidates=candidates,
        usage=accounts.total(),
        usage_by_stage=dict(accounts.usage),
        timing=tuple(accounts.timing),
        wall_s=work.budget.elapsed(),
        ttft_s=accounts.ttft_s,
        warnings=tuple(work.warnings),
    )
