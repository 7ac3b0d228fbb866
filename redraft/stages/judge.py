"""The second stage: the critic's judgement of one response, in the form in which its calibration measured it."""

from __future__ import annotations

from dataclasses import replace

from redraft import vote
from redraft.critic import CriticCall, Judgement, calls
from redraft.errors import RedraftError
from redraft.events import StepEnded, StepStarted
from redraft.options import derived_seed
from redraft.stages.work import Work
from redraft.types import Calibration, Critique, Stage, Verdict


async def judge(work: Work, index: int) -> Critique:
    """Judge response `index`. A critic that fails or is cut off abstains, with its cause. Raises Exhausted where no budget is left."""
    n = 1 if work.calibration is None else work.calibration.critiques
    n, each = work.budget.reserve(want=_longest(work), n=n, calls=calls(n))
    call = CriticCall(
        work.engine,
        model=work.critic,
        max_tokens=each,
        critiques=n,
        temperature=0.0 if n == 1 else work.options.temperature,
        seed=None if n == 1 else derived_seed(work.options.seed, Stage.CRITIQUE, index),
    )
    start = work.budget.elapsed()
    work.emit(StepStarted(Stage.CRITIQUE, index))
    critique = Critique(index, "", Verdict.ABSTAIN, None, "the critique was cut off")
    try:
        response = work.ballot.drafts[index].content
        judgement = await call.run(work.problem, response, lambda text: work.text(Stage.CRITIQUE, index, text))
        critique = read(judgement, index, work.calibration)
    except RedraftError as error:
        critique = replace(critique, reason=f"the critic failed: {error.message}")
    finally:
        work.accounts.close(Stage.CRITIQUE, start, n * each, call.usage)
        work.ballot.critiques.append(critique)
        work.emit(StepEnded(Stage.CRITIQUE, index, critique=critique))
    return critique


def _longest(work: Work) -> int:
    """A critic is heard as it was measured: not for longer, even where the loop would let it."""
    measured = None if work.calibration is None else work.calibration.critique_tokens
    return work.options.critique_tokens if measured is None else min(measured, work.options.critique_tokens)


def read(judgement: Judgement, index: int, calibration: Calibration | None) -> Critique:
    """A judgement of response `index` as verdicts: a calibrated critic's beliefs are read at its own threshold, not at one half."""
    cut = 0.5 if calibration is None else calibration.threshold
    verdicts = tuple(_verdict(belief, cut) for belief in judgement.beliefs)
    whole = _verdict(judgement.p_correct, cut)
    if calibration is not None and len(verdicts) > 1 and whole is not Verdict.ABSTAIN:
        weighed = vote.evidence(calibration, [(index, verdict) for verdict in verdicts])
        whole = Verdict.CORRECT if weighed >= 0 else Verdict.INCORRECT
    return Critique(index, judgement.text, whole, judgement.p_correct, judgement.reason, judgement.beliefs, verdicts)


def _verdict(belief: float | None, cut: float) -> Verdict:
    if belief is None:
        return Verdict.ABSTAIN
    return Verdict.CORRECT if belief >= cut else Verdict.INCORRECT
