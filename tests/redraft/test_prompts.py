from __future__ import annotations

from redraft import prompts
from redraft.types import Message


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
