"""Every stop rule, every budget, and what each kind of draft and critic may move, on the scripted engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from redraft import ballot, loop, vote
from redraft.engine import Generation
from redraft.errors import BadRequest, EngineFailed, ModelNotFound
from redraft.events import Event, StepEnded, StepStarted, StepText
from redraft.options import LoopOptions, derived_seed
from redraft.scripted import Reply, ScriptedEngine
from redraft.types import Calibration, CriticState, Critique, LoopResult, Message, Stage, Stop, Verdict
from tests.conftest import Script, WordChecker, judged_response, stage_of, verdict

ASK: list[Message] = [{"role": "user", "content": "what is it?"}]
SHARP = Calibration(tpr=0.95, fpr=0.05, n=1000)
OPTIONS = LoopOptions(drafts=3, rounds=1)
FORCED = replace(OPTIONS, critique="always")
"""The critic is asked although nobody has measured it."""
PAIR = LoopOptions(drafts=2, critique="always")


async def solve(
    engine: ScriptedEngine, options: LoopOptions = OPTIONS, calibration: Calibration | None = None, **more: object
) -> LoopResult:
    return await loop.run(
        engine,
        WordChecker(),
        ASK,
        model="scripted",
        critic="scripted",
        options=options,
        calibration=calibration,
        **more,  # type: ignore[arg-type]
    )


def stages(engine: ScriptedEngine) -> list[Stage]:
    return [stage_of(request) for request in engine.requests]


async def test_agreement_ends_without_a_critic() -> None:
    engine = ScriptedEngine(Script(["x = 4", "so = 4", "thus = 4"]))
    result = await solve(engine, replace(OPTIONS, drafts=3))
    assert (result.answer, result.content, result.chosen) == ("4", "x = 4", 0)
    assert result.stop in {Stop.AGREED, Stop.SETTLED}
    assert set(stages(engine)) == {Stage.SOLVE}
    assert (await solve(ScriptedEngine(Script(["= 4"] * 3)), calibration=SHARP)).critic is CriticState.UNUSED


WEAK = Calibration(tpr=0.6, fpr=0.45, n=1000)


@pytest.mark.parametrize(("calibration", "says"), [(None, CriticState.UNCALIBRATED), (WEAK, CriticState.BELOW_BREAK_EVEN)])
async def test_without_a_critic_that_pays_the_loop_is_adaptive_and_says_so(calibration: Calibration | None, says: CriticState) -> None:
    def script() -> ScriptedEngine:
        return ScriptedEngine(Script(["= 4", "= 5", "= 5", "= 4"], critic=verdict(0.1), reviser=lambda r: [Reply("= 5")]))

    options = LoopOptions(drafts=4)
    adaptive, gated = script(), script()
    voted = await solve(adaptive, replace(options, rounds=0))
    found = await solve(gated, options, calibration)
    assert gated.requests == adaptive.requests
    assert (found.answer, found.candidates, found.stop) == (voted.answer, voted.candidates, Stop.SETTLED)
    assert (found.critic, voted.critic) == (says, CriticState.UNUSED)
    assert found.answer == "4", "a tie goes to the greedy draft's answer"


@pytest.mark.parametrize(("calibration", "says"), [(None, CriticState.UNCALIBRATED), (WEAK, CriticState.BELOW_BREAK_EVEN)])
async def test_a_critic_that_does_not_pay_is_heard_where_the_request_insists_and_moves_nothing(
    calibration: Calibration | None, says: CriticState
) -> None:
    engine = ScriptedEngine(Script(["= 4", "= 5", "= 5"], critic=verdict(0.01), reviser=lambda r: [Reply("= 4")]))
    result = await solve(engine, replace(OPTIONS, critique="always"), calibration)
    assert stages(engine).count(Stage.REVISE) == 2
    assert (result.answer, result.critic) == ("5", says)
    assert [candidate.weight for candidate in result.candidates] == [2.0, 1.0]


async def test_the_first_draft_is_greedy_and_the_others_one_request_with_a_shared_prompt() -> None:
    engine = ScriptedEngine(Script(["= 1"] * 5))
    await solve(engine, LoopOptions(drafts=5, temperature=0.9, seed=7))
    greedy, sampled = engine.requests
    assert (greedy.n, greedy.temperature) == (1, 0.0)
    assert (sampled.n, sampled.temperature, sampled.seed) == (4, 0.9, derived_seed(7, Stage.SOLVE, 0))
    assert greedy.messages == sampled.messages


async def test_drawing_stops_at_the_asked_confidence() -> None:
    """Four votes to none: 1 - 2**-5 is above .95."""
    engine = ScriptedEngine(Script(["= 4"] * 16))
    result = await solve(engine, LoopOptions(drafts=16, batch=4))
    assert (result.answer, result.stop, len(result.drafts)) == ("4", Stop.SETTLED, 4)
    assert [request.n for request in engine.requests] == [1, 3]


async def test_full_confidence_draws_until_nothing_could_change_the_winner() -> None:
    result = await solve(ScriptedEngine(Script(["= 4"] * 16)), LoopOptions(drafts=16, batch=4, confidence=1.0))
    assert (result.answer, result.stop) == ("4", Stop.SETTLED)
    assert sum(draft.answer == "4" for draft in result.drafts) == 9


async def test_drafts_that_disagree_are_drawn_on_batch_by_batch() -> None:
    engine = ScriptedEngine(Script(["= 1", "= 2", "= 3", "= 1", "= 2", "= 3"]))
    result = await solve(engine, LoopOptions(drafts=6, batch=2, rounds=0, seed=1))
    assert [request.n for request in engine.requests] == [1, 1, 2, 2]
    seeds = [request.seed for request in engine.requests[1:]]
    assert seeds == [derived_seed(1, Stage.SOLVE, index) for index in (0, 2, 4)]
    assert [draft.index for draft in result.drafts] == list(range(6))
    assert (result.answer, result.stop) == ("1", Stop.SETTLED)


async def test_the_last_call_draws_all_drafts_at_once() -> None:
    engine = ScriptedEngine(Script(["= 1", "= 1", "= 2"]))
    await solve(engine, LoopOptions(drafts=3, rounds=0, max_calls=1))
    assert [(request.n, request.temperature) for request in engine.requests] == [(3, 0.7)]


def test_seeds_of_neighbours_share_no_draft() -> None:
    """An engine seeds the k-th completion with seed + k."""
    firsts = [derived_seed(seed, stage, index) for seed in range(50) for stage in Stage for index in range(3)]
    children = {first + k for first in firsts if first is not None for k in range(8)}
    assert len(children) == 8 * len(firsts)
    assert derived_seed(None, Stage.SOLVE, 0) is None


def test_of_answers_all_believed_only_the_most_believed_is_left_alone() -> None:
    def said(draft: int, verdict: Verdict, p: float | None) -> Critique:
        return Critique(draft, "", verdict, p)

    sure, less = said(0, Verdict.CORRECT, 0.9), said(1, Verdict.CORRECT, 0.8)
    wrong, mute = said(2, Verdict.INCORRECT, 0.1), said(3, Verdict.ABSTAIN, None)
    assert ballot.in_doubt([sure, less, wrong, mute]) == [less, wrong]
    assert ballot.in_doubt([sure]) == []
    assert ballot.in_doubt([wrong]) == [wrong]
    assert ballot.in_doubt([said(1, Verdict.CORRECT, 0.9), sure]) == [said(1, Verdict.CORRECT, 0.9)]


async def test_stragglers_are_cancelled_once_the_vote_is_settled() -> None:
    slow = "word " * 200 + "= 9"
    engine = ScriptedEngine(Script(["= 4", "= 4", "= 4", slow, slow]))
    result = await solve(engine, LoopOptions(drafts=5))
    assert (result.answer, result.stop) == ("4", Stop.SETTLED)
    assert [d.finish_reason for d in result.drafts] == ["stop", "stop", "stop", "cancelled", "cancelled"]
    assert engine.running == 0
    assert 6 < result.usage.completion_tokens < 30


async def test_a_settled_vote_costs_no_critique() -> None:
    engine = ScriptedEngine(Script(["= 4", "= 4", "= 5", "= 4", "word " * 50 + "= 5"], critic=verdict(0.1)))
    result = await solve(engine, LoopOptions(drafts=5))
    assert (result.answer, result.stop, result.critiques) == ("4", Stop.SETTLED, ())
    assert set(stages(engine)) == {Stage.SOLVE}


async def test_a_majority_that_could_still_be_reached_is_waited_for() -> None:
    engine = ScriptedEngine(Script(["= 4", "a long way = 9", "another long way = 9"]))
    assert (await solve(engine, replace(OPTIONS, rounds=0))).answer == "9"


async def test_disagreement_calls_the_critic_once_for_each_answer() -> None:
    engine = ScriptedEngine(Script(["= 4", "= 5", "= 4 "], critic=verdict(0.9)))
    result = await solve(engine, FORCED)
    judged = {judged_response(r) for r in engine.requests if stage_of(r) is Stage.CRITIQUE}
    assert judged == {"= 4", "= 5"}
    assert result.critic is CriticState.UNCALIBRATED
    assert result.stop is Stop.ROUNDS


async def test_an_uncalibrated_critic_moves_no_vote() -> None:
    right_is_wrong = lambda request: verdict(0.01 if "= 4" in request.messages[0]["content"] else 0.99)(request)  # noqa: E731
    result = await solve(ScriptedEngine(Script(["= 4", "= 5", "= 4"], critic=right_is_wrong)), FORCED)
    assert result.answer == "4"
    assert {c.verdict for c in result.critiques} == {Verdict.CORRECT, Verdict.INCORRECT}


async def test_a_calibrated_critic_moves_the_vote() -> None:
    likes_five = lambda request: verdict(0.99 if "= 5" in request.messages[0]["content"] else 0.01)(request)  # noqa: E731
    result = await solve(ScriptedEngine(Script(["= 4", "= 5", "= 4"], critic=likes_five)), calibration=SHARP)
    assert result.answer == "5"
    assert result.critic is CriticState.CALIBRATED


async def test_a_calibrated_critics_belief_is_read_at_its_threshold() -> None:
    """It says right to everything, to some less surely."""
    script = Script(["= 4", "= 5", "= 4"], critic=lambda r: verdict(0.95 if "= 5" in r.messages[0]["content"] else 0.7)(r))
    result = await solve(ScriptedEngine(script), calibration=replace(SHARP, threshold=0.8))
    assert {(c.draft, c.verdict) for c in result.critiques} == {(0, Verdict.INCORRECT), (1, Verdict.CORRECT)}
    assert result.answer == "5"


async def test_a_calibrated_critic_is_given_the_chance_to_overturn_a_lead() -> None:
    """A lead that settles a plain vote does not cancel drafts while verdicts could still change the winner."""
    engine = ScriptedEngine(Script(["= 4", "= 4", "a longer way = 5"]))
    assert (await solve(engine)).drafts[2].finish_reason == "cancelled"
    engine = ScriptedEngine(Script(["= 4", "= 4", "a longer way = 5"]))
    assert (await solve(engine, calibration=SHARP)).drafts[2].finish_reason == "stop"


async def test_a_revision_joins_and_never_overwrites() -> None:
    result = await solve(
        ScriptedEngine(Script(["= 4", "= 5", "= 4"], critic=verdict(0.1), reviser=lambda r: [Reply("mended = 6")])), calibration=SHARP
    )
    assert [d.content for d in result.drafts] == ["= 4", "= 5", "= 4", "mended = 6", "mended = 6", "= 5", "= 4"]
    assert [(d.index, d.parent) for d in result.drafts if d.stage is Stage.REVISE] == [(3, 0), (4, 1)]


async def test_a_new_answer_needs_two_supporters() -> None:
    def revise_one(request: Generation) -> list[Reply]:
        return [Reply("= 7" if any(m["content"] == "= 4" for m in request.messages) else "lost")]

    script = Script(["= 4", "= 5", "lost", "lost"], critic=verdict(0.1), reviser=revise_one)
    result = await solve(ScriptedEngine(script), LoopOptions(drafts=2), SHARP)
    weights = {c.answer: c.weight for c in result.candidates}
    assert weights["7"] == 0.0 > weights["4"]
    assert result.answer == "4", "judged wrong as it is: a lone new answer is not chosen for being the last"
    script = Script(["= 4", "= 5", "lost", "lost"], critic=verdict(0.1), reviser=lambda r: [Reply("= 7")])
    result = await solve(ScriptedEngine(script), LoopOptions(drafts=2), SHARP)
    assert {c.answer: c.weight for c in result.candidates}["7"] == 2.0
    assert (result.answer, result.content) == ("7", "= 7")


@pytest.mark.parametrize(
    ("later", "answer", "new"),
    [(["= 7", "lost"], "4", 0.0), (["= 7", "= 7"], "7", 2.0), (["= 7", "= 8"], "4", 0.0), (["= 5", "= 7"], "5", 0.0)],
    ids=["alone", "two agree", "two differ", "an old answer gains"],
)
async def test_where_every_answer_is_judged_wrong_fresh_drafts_join_as_votes(later: list[str], answer: str, new: float) -> None:
    engine = ScriptedEngine(Script(["= 4", "= 5", *later], critic=verdict(0.1)))
    result = await solve(engine, LoopOptions(drafts=2, seed=5), SHARP)
    assert stages(engine)[-4:] == [Stage.REVISE, Stage.REVISE, Stage.SOLVE, Stage.SOLVE]
    fresh = engine.requests[-2:]
    assert all(request.messages == engine.requests[0].messages for request in fresh)
    assert len({request.seed for request in engine.requests if stage_of(request) is Stage.SOLVE and request.temperature}) == 3
    assert result.answer == answer
    assert {c.answer: c.weight for c in result.candidates}["7"] == new


async def test_one_answer_believed_is_no_reason_for_fresh_drafts() -> None:
    likes_five = lambda request: verdict(0.99 if "= 5" in request.messages[0]["content"] else 0.01)(request)  # noqa: E731
    engine = ScriptedEngine(Script(["= 4", "= 5"], critic=likes_five))
    await solve(engine, LoopOptions(drafts=2), SHARP)
    assert stages(engine).count(Stage.SOLVE) == 2


async def test_a_revision_and_a_fresh_draft_support_a_new_answer_together() -> None:
    def revise_one(request: Generation) -> list[Reply]:
        return [Reply("= 7" if any(m["content"] == "= 4" for m in request.messages) else "lost")]

    script = Script(["= 4", "= 5", "lost", "= 7"], critic=verdict(0.1), reviser=revise_one)
    assert (await solve(ScriptedEngine(script), LoopOptions(drafts=2), SHARP)).answer == "7"


SEVERAL = replace(SHARP, critiques=3, critique_tokens=20, rho_response=0.5, pooled_accuracy=0.95)


async def test_a_critic_measured_with_several_short_critiques_is_asked_for_as_many() -> None:
    likes_five = lambda r: verdict(0.9 if "= 5" in r.messages[0]["content"] else 0.1, "so it is")(r) * r.n  # noqa: E731
    engine = ScriptedEngine(Script(["= 4", "= 5", "= 4"], critic=likes_five))
    result = await solve(engine, OPTIONS, SEVERAL)
    written = [r for r in engine.requests if stage_of(r) is Stage.CRITIQUE and not r.top_logprobs]
    assert [(r.n, r.max_tokens, r.temperature) for r in written] == [(3, 19, 0.7)] * 2
    assert result.usage_by_stage[Stage.CRITIQUE].calls == 2 * (1 + 3)
    assert {c.draft: c.verdicts for c in result.critiques} == {0: (Verdict.INCORRECT,) * 3, 1: (Verdict.CORRECT,) * 3}
    assert result.answer == "5"
    weights = {c.answer: c.weight for c in result.candidates}
    assert weights["5"] == pytest.approx(1 + min(vote.MAX_LLR, vote.llr(SEVERAL, Verdict.CORRECT) * 3 / 2))


async def test_several_critiques_are_told_one_after_the_other() -> None:
    events: list[Event] = []
    critic = lambda r: [*verdict(0.2, "first words")(r), *verdict(0.2, "second")(r) * (r.n - 1)]  # noqa: E731
    engine = ScriptedEngine(Script(["= 4", "= 5"], critic=critic))
    result = await solve(engine, LoopOptions(drafts=2), replace(SEVERAL, critiques=2), emit=events.append)
    for critique in result.critiques:
        told = [e.text for e in events if isinstance(e, StepText) and (e.stage, e.index) == (Stage.CRITIQUE, critique.draft)]
        assert "".join(told) == critique.text
        assert critique.text.count("Critique:") == 2
        assert critique.text.index("first") < critique.text.index("second")


async def test_a_revision_that_repeats_its_draft_is_no_second_witness() -> None:
    def repeat(request: Generation) -> list[Reply]:
        return [Reply("= 4 ") if any(m["content"] == "= 4" for m in request.messages) else Reply("nothing")]

    result = await solve(
        ScriptedEngine(Script(["= 4", "= 5", "lost", "lost"], critic=verdict(0.4), reviser=repeat)), LoopOptions(drafts=2), SHARP
    )
    lone = next(c for c in result.candidates if c.answer == "4")
    assert lone.members == (0, 2)
    assert lone.weight < 1.0


async def test_ties_go_to_the_first_draft() -> None:
    assert (await solve(ScriptedEngine(Script(["= 8", "= 3"])), LoopOptions(drafts=2, rounds=0))).answer == "8"


async def test_truncated_and_answerless_drafts_vote_nothing() -> None:
    long = "= 9 " + "and so on " * 50
    engine = ScriptedEngine(Script([long, long, "= 4"]))
    result = await solve(engine, LoopOptions(drafts=3, response_tokens=10, rounds=0))
    assert result.answer == "4"
    assert [d.answer for d in result.drafts] == [None, None, "4"]


async def test_without_any_answer_the_first_whole_draft_is_returned() -> None:
    result = await solve(ScriptedEngine(Script(["a poem", "another poem", "a third"])))
    assert (result.answer, result.content, result.stop) == (None, "a poem", Stop.NO_ANSWER)


async def test_an_unreadable_verdict_abstains_and_says_so() -> None:
    def mute(request: Generation) -> list[Reply]:
        return [Reply(" maybe", {" maybe": -0.1})] if request.top_logprobs else [Reply("hm")]

    result = await solve(ScriptedEngine(Script(["= 4", "= 5"], critic=mute)), LoopOptions(drafts=2), SHARP)
    assert {c.verdict for c in result.critiques} == {Verdict.ABSTAIN}
    assert all(c.reason and "no conclusion" in c.reason for c in result.critiques)
    assert not any(d.stage is Stage.REVISE for d in result.drafts)


async def test_a_critic_that_fails_abstains_with_its_cause() -> None:
    def broken(request: Generation) -> list[Reply]:
        return [Reply("half a", error=EngineFailed("the engine broke off"))]

    result = await solve(ScriptedEngine(Script(["= 4", "= 5"], critic=broken)), LoopOptions(drafts=2), SHARP)
    assert result.answer == "4"
    assert {c.reason for c in result.critiques} == {"the critic failed: the engine broke off"}


async def test_an_engine_that_fails_late_costs_only_what_is_missing() -> None:
    engine = ScriptedEngine(
        Script(["= 4", "a few words and then = 5", Reply("many words are said here until", error=EngineFailed("gone"))])
    )
    result = await solve(engine, LoopOptions(drafts=3, rounds=0))
    assert result.answer == "4"
    assert result.warnings == ("the engine failed while drafts were written: gone",)
    assert result.stop is Stop.ENGINE_FAILED
    assert result.drafts[2].finish_reason == "cancelled"


async def test_an_engine_that_fails_first_raises() -> None:
    with pytest.raises(EngineFailed):
        await solve(ScriptedEngine(Script([Reply("", error=EngineFailed("gone"))] * 3)))
    with pytest.raises(ModelNotFound):
        await loop.run(ScriptedEngine(Script([])), WordChecker(), ASK, model="other", critic="other", options=OPTIONS)


async def test_a_failing_revision_is_a_warning() -> None:
    reviser = lambda request: [Reply("half", error=EngineFailed("gone"))]  # noqa: E731
    result = await solve(ScriptedEngine(Script(["= 4", "= 5", "= 4"], critic=verdict(0.1), reviser=reviser)), LoopOptions(drafts=2), SHARP)
    assert len(result.warnings) == 2
    assert result.answer == "4"


@pytest.mark.parametrize("total", [8, 20, 40, 60, 100, 200])
async def test_max_tokens_is_hard(total: int) -> None:
    words = "one two three four five six seven eight nine = "
    engine = ScriptedEngine(Script([words + str(k) for k in range(5)], critic=verdict(0.1), reviser=lambda r: [Reply(words + "7")]))
    result = await solve(
        engine, LoopOptions(drafts=5, rounds=2, max_tokens=total, response_tokens=30, critique_tokens=20, critique="always")
    )
    assert result.usage.completion_tokens <= total
    assert result.usage.completion_tokens == sum(u.completion_tokens for u in result.usage_by_stage.values())


async def test_max_calls_is_hard() -> None:
    engine = ScriptedEngine(Script(["= 4", "= 5"], critic=verdict(0.1), greedy=False))
    result = await solve(engine, replace(PAIR, max_calls=1))
    assert (result.stop, result.answer, len(engine.requests)) == (Stop.MAX_CALLS, "4", 1)


@pytest.mark.parametrize(("most", "made"), [(1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 6)])
async def test_a_critique_counts_as_the_two_calls_it_makes(most: int, made: int) -> None:
    engine = ScriptedEngine(Script(["= 4", "= 5"], critic=verdict(0.9)))
    result = await solve(engine, replace(PAIR, max_calls=most))
    assert len(engine.requests) == result.usage.calls == made


async def test_the_deadline_is_hard_and_returns_the_best_so_far() -> None:
    slow = Reply("word " * 1000, delay_s=0.005)
    engine = ScriptedEngine(Script(["= 4", slow, slow]))
    result = await solve(engine, LoopOptions(drafts=3, deadline_s=1.0))
    assert (result.stop, result.answer) == (Stop.DEADLINE, "4")
    assert engine.running == 0
    assert result.usage.completion_tokens > 3


async def test_the_deadline_holds_for_the_critic_too() -> None:
    def slow(request: Generation) -> list[Reply]:
        return [Reply("word " * 1000, delay_s=0.005)]

    engine = ScriptedEngine(Script(["= 4", "= 5"], critic=slow))
    result = await solve(engine, replace(PAIR, deadline_s=1.0))
    assert (result.stop, result.answer, engine.running) == (Stop.DEADLINE, "4", 0)
    assert result.usage_by_stage[Stage.CRITIQUE].completion_tokens > 0
    assert {c.reason for c in result.critiques} == {"the critique was cut off"}


async def test_a_revision_that_is_cut_off_is_kept_without_an_answer() -> None:
    slow = lambda request: [Reply("= 6 " * 1000, delay_s=0.005)]  # noqa: E731
    engine = ScriptedEngine(Script(["= 4", "= 5"], critic=verdict(0.1), reviser=slow))
    result = await solve(engine, replace(PAIR, deadline_s=1.0))
    assert [(d.answer, d.finish_reason) for d in result.drafts if d.stage is Stage.REVISE] == [(None, "cancelled")] * 2


async def test_every_call_is_told_also_when_the_loop_is_cancelled() -> None:
    told: list[tuple[Stage, int]] = []
    engine = ScriptedEngine(Script([Reply("word " * 1000, delay_s=0.005)] * 3))
    task = asyncio.create_task(solve(engine, on_call=lambda stage, seconds, usage: told.append((stage, usage.completion_tokens))))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [stage for stage, _ in told] == [Stage.SOLVE] * 2
    assert sum(tokens for _, tokens in told) > 3


async def test_cancelling_the_loop_cancels_all_inner_work() -> None:
    engine = ScriptedEngine(Script([Reply("word " * 1000, delay_s=0.005)] * 3))
    task = asyncio.create_task(solve(engine))
    while not engine.running:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.running == 0


async def test_events_tell_every_step_in_order() -> None:
    events: list[Event] = []
    result = await solve(ScriptedEngine(Script(["= 4", "= 5"], critic=verdict(0.1))), PAIR, emit=events.append)
    started = [(e.stage, e.index) for e in events if isinstance(e, StepStarted)]
    ended = [(e.stage, e.index) for e in events if isinstance(e, StepEnded)]
    assert sorted(started) == sorted(ended)
    for draft in result.drafts:
        assert draft.content == "".join(
            e.text for e in events if isinstance(e, StepText) and (e.stage, e.index) == (draft.stage, draft.index)
        )
    for critique in result.critiques:
        told = "".join(e.text for e in events if isinstance(e, StepText) and (e.stage, e.index) == (Stage.CRITIQUE, critique.draft))
        assert told == critique.text


async def test_a_second_round_judges_only_new_answers() -> None:
    engine = ScriptedEngine(Script(["= 4", "= 5"], critic=verdict(0.1), reviser=lambda r: [Reply("= 6")]))
    result = await solve(engine, replace(PAIR, rounds=3))
    assert sorted(c.draft for c in result.critiques) == [0, 1, 2]
    assert [d.answer for d in result.drafts] == ["4", "5", "6", "6", "6"]


@pytest.mark.parametrize("messages", [[], [{"role": "assistant", "content": "hello"}]])
async def test_a_conversation_must_end_with_the_user(
    messages: list[Message], checker: WordChecker, scripted: Callable[..., ScriptedEngine]
) -> None:
    with pytest.raises(BadRequest) as error:
        await loop.run(scripted(["= 1"] * 3), checker, messages, model="scripted", critic="scripted", options=OPTIONS)
    assert error.value.param == "messages"


async def test_history_reaches_solver_and_critic() -> None:
    history: list[Message] = [
        {"role": "user", "content": "x is 3"},
        {"role": "assistant", "content": "noted"},
        {"role": "user", "content": "what is 2x?"},
    ]
    engine = ScriptedEngine(Script(["= 6", "= 5"], critic=verdict(0.9)))
    await loop.run(engine, WordChecker(), history, model="scripted", critic="scripted", options=PAIR)
    assert list(engine.requests[0].messages[1:]) == history
    asked = next(r for r in engine.requests if stage_of(r) is Stage.CRITIQUE).messages[0]["content"]
    assert "x is 3" in asked
    assert "what is 2x?" in asked
