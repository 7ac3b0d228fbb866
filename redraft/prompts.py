"""The one prompt file: what is trained is what is served.

The critic's form follows Critique Fine-Tuning (arXiv 2501.17703): the question and a solution go in, a critique comes out that
begins `Critique:` and ends `Conclusion: right [END]` or `Conclusion: wrong [END]`. One sentence is added to the paper's
instruction, so that a model that was never tuned also knows how to end.
"""

from __future__ import annotations

from collections.abc import Sequence

from redraft.types import Message

Messages = tuple[Message, ...]

SOLVE_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."

CRITIQUE_INSTRUCTION = (
    'Please critique whether the following solution to the question is correct. End with "Conclusion: right" or "Conclusion: wrong".'
)
CRITIQUE_START = "Critique:\n"
CONCLUSION = "Conclusion:"
END = "[END]"
RIGHT, WRONG = "right", "wrong"

REVISE_INSTRUCTION = (
    "A reviewer read your solution and wrote:\n\n{critique}\n\n"
    "Other attempts at this problem came to other answers. Solve it again: keep what is right, mend what is wrong, "
    "and put your final answer within \\boxed{{}}."
)


def solve_messages(problem: str) -> Messages:
    """The chat that asks for a solution of `problem`."""
    return with_solve_system(({"role": "user", "content": problem},))


def with_solve_system(history: Sequence[Message]) -> Messages:
    """A conversation that ends with the problem; the solve instruction leads it unless the caller brought a system message."""
    if any(m["role"] == "system" for m in history):
        return tuple(history)
    return ({"role": "system", "content": SOLVE_SYSTEM}, *history)


def critique_messages(problem: str, response: str) -> Messages:
    """The critic's prompt, without the reply. Training and serving both render exactly this."""
    return ({"role": "user", "content": f"{CRITIQUE_INSTRUCTION}\n\nQuestion:\n{problem}\n\nSolution:\n{response}"},)


def critique_reply(body: str, conclusion: str) -> str:
    """The critic's whole reply, as trained: `body` is the judgement, `conclusion` is `right` or `wrong`."""
    return f"{verdict_prefix(body)} {conclusion} {END}"


def verdict_prefix(body: str) -> str:
    """The reply up to the place where the next token is the verdict; its log-probabilities are the critic's belief."""
    return f"{CRITIQUE_START}{body.strip()}\n\n{CONCLUSION}"


def revise_messages(solve: Sequence[Message], response: str, critique: str) -> Messages:
    """The solve chat gone on with: it extends the draft's own prompt, so the engine's prefix cache holds all before the critique."""
    return (
        *solve,
        {"role": "assistant", "content": response},
        {"role": "user", "content": REVISE_INSTRUCTION.format(critique=critique.strip())},
    )
