from __future__ import annotations

import math

import pytest

from redraft import prompts
from redraft.critic import CriticCall, Judgement
from redraft.engine import Generation
from redraft.scripted import Reply, ScriptedEngine
from redraft.types import Verdict
from tests.conftest import verdict


async def judge(engine: ScriptedEngine, max_tokens: int = 100) -> tuple[Judgement, str, CriticCall]:
    told: list[str] = []
    call = CriticCall(engine, model="scripted", max_tokens=max_tokens)
    judgement = await call.run("1+1?", "it is 3", told.append)
    return judgement, "".join(told), call


@pytest.mark.parametrize(("p", "expected", "word"), [(0.8, Verdict.CORRECT, "right"), (0.2, Verdict.INCORRECT, "wrong")])
async def test_the_belief_decides_the_verdict_and_the_text_ends_in_it(p: float, expected: Verdict, word: str) -> None:
    judgement, told, _ = await judge(ScriptedEngine(verdict(p, "three is not two")))
    assert judgement.verdict is expected
    assert judgement.p_correct == pytest.approx(p)
    assert judgement.text == told == prompts.critique_reply("three is not two", word)


@pytest.mark.parametrize("written", ["\n\n spaced  out \n\n so it is \n\n", "   ", "one"])
async def test_what_is_told_is_the_text_without_the_space_around_it(written: str) -> None:
    judgement, told, _ = await judge(ScriptedEngine(verdict(0.8, written)))
    assert told == judgement.text == prompts.critique_reply(written, "right")


async def test_the_words_cannot_overrule_the_log_probabilities() -> None:
    judgement, _, _ = await judge(ScriptedEngine(verdict(0.1, "fine. Conclusion: right [END]")))
    assert judgement.verdict is Verdict.INCORRECT


async def test_the_second_call_goes_on_from_the_first() -> None:
    engine = ScriptedEngine(verdict(0.8, "so be it"))
    await judge(engine)
    first, second = engine.requests
    assert first.messages[-1] == {"role": "assistant", "content": prompts.CRITIQUE_START}
    assert second.messages[-1]["content"] == prompts.verdict_prefix("so be it")
    assert second.messages[:-1] == first.messages[:-1] == prompts.critique_messages("1+1?", "it is 3")
    assert (second.max_tokens, second.temperature, second.continue_final) == (1, 0.0, True)


async def test_a_critique_that_runs_out_of_tokens_still_concludes() -> None:
    judgement, _, call = await judge(ScriptedEngine(verdict(0.8, "word " * 50)), max_tokens=11)
    assert judgement.truncated
    assert judgement.verdict is Verdict.CORRECT
    assert call.usage.completion_tokens == 11


async def test_an_unreadable_conclusion_abstains() -> None:
    def mute(request: Generation) -> list[Reply]:
        return [Reply(" so", {" so": math.log(0.9)})] if request.top_logprobs else [Reply("hm")]

    judgement, told, _ = await judge(ScriptedEngine(mute))
    assert (judgement.verdict, judgement.p_correct) == (Verdict.ABSTAIN, None)
    assert judgement.reason is not None
    assert "no conclusion" in judgement.reason
    assert judgement.text == told == "Critique:\nhm"
