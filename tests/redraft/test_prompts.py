from __future__ import annotations

from redraft import loop, prompts
from redraft.options import LoopOptions
from redraft.scripted import ScriptedEngine
from redraft.types import Calibration, Message, Stage
from tests.conftest import Script, WordChecker, stage_of, verdict


def test_the_critic_sees_problem_and_response_and_nothing_else() -> None:
    (message,) = prompts.critique_messages("1+1?", "it is 3")
    assert message["content"] == f"{prompts.CRITIQUE_INSTRUCTION}\n\nQuestion:\n1+1?\n\nSolution:\nit is 3"


def test_the_verdict_prefix_is_a_prefix_of_what_is_trained() -> None:
    for word in (prompts.RIGHT, prompts.WRONG):
        reply = prompts.critique_reply("  looks fine\n", word)
        prefix = prompts.verdict_prefix("looks fine")
        assert reply.startswith(prefix)
        assert reply[len(prefix) :] == f" {word} {prompts.END}"


def test_a_revision_extends_its_drafts_prompt() -> None:
    solve = prompts.solve_messages("1+1?")
    revise = prompts.revise_messages(solve, "it is 3", "it is 2")
    assert revise[: len(solve)] == solve
    assert revise[len(solve)] == {"role": "assistant", "content": "it is 3"}
    assert "it is 2" in revise[-1]["content"]
    assert "\\boxed{}" in revise[-1]["content"]


def test_a_callers_system_message_is_kept() -> None:
    own: list[Message] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "1+1?"}]
    assert prompts.with_solve_system(own) == tuple(own)
    assert prompts.with_solve_system(own[1:])[0]["content"] == prompts.SOLVE_SYSTEM


def shared(one: str, other: str) -> int:
    """Characters that both begin with."""
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


async def test_every_prompt_of_a_loop_goes_on_from_one_before_it() -> None:
    """What an engine's prefix cache can hold: all but a critique's first words are a prompt or a reply that it has seen."""
    script = Script(["a way = 4", "another way = 5", "= 4", "= 4"], critic=verdict(0.1))
    engine = ScriptedEngine(script)
    options = LoopOptions(drafts=2)
    await loop.run(
        engine, WordChecker(), [{"role": "user", "content": "1+1?"}], model="scripted", critic="scripted", options=options,
        calibration=Calibration(0.9, 0.1, 500),
    )  # fmt: skip
    written = ["a way = 4", "another way = 5", "step one is checked"]
    seen: list[str] = []
    for request in engine.requests:
        prompt = "".join(f"<{m['role']}>{m['content']}" for m in request.messages)
        held = max((shared(prompt, before) for before in seen), default=0)
        match stage_of(request):
            case Stage.SOLVE if seen:
                assert held == len(prompt), "a draft's prompt is the first one's"
            case Stage.REVISE:
                assert prompt[held:].startswith("<user>A reviewer"), "a revision goes on from its draft's prompt and reply"
            case Stage.CRITIQUE if request.top_logprobs:
                assert prompt[held:] == f"\n\n{prompts.CONCLUSION}", "a verdict goes on from its critique"
            case Stage.CRITIQUE if any("Solution:" in before for before in seen):
                assert prompt[:held].endswith("Solution:\na"), "critiques of one problem share all before the response"
        seen += [prompt, *(prompt + reply for reply in written), *(f"{prompt}<assistant>{reply}" for reply in written)]
