"""Early-stopped voting: asks for as few responses as could decide the vote, then for more only while it is open.

The answer is the one that all n responses would have elected; only responses that could not have changed it are never drawn.
Knows chats and votes, no files.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from evalsuite.ask import Reply, Response
from evalsuite.config import RunConfig
from evalsuite.endpoint import Answered
from evalsuite.grade import Checker
from redraft import vote

Ask = Callable[[RunConfig], Awaitable[tuple[Answered, Reply]]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """All that was drawn for one problem, as one reply, and when."""

    answered: Answered
    reply: Reply


def next_batch(lead: float, outstanding: int) -> int:
    """The least number of further responses that could settle the vote; 0 when it is settled."""
    if vote.settled([lead], outstanding):
        return 0
    return min(outstanding, int(outstanding - lead) // 2 + 1)


async def draw(config: RunConfig, ask: Ask, checker: Checker) -> Drawn:
    """Draw responses until the vote is settled or all of `config`'s n are there. `ask` makes one request with the sampling it is given."""
    n, seed = config.sampling.n or 1, config.sampling.seed
    responses: list[Response] = []
    answers: dict[int, str] = {}
    groups: vote.Groups = []
    asked: list[tuple[Answered, Reply]] = []

    async def equal(a: str, b: str) -> bool:
        return (await checker.check(a, b)).equal

    while batch := next_batch(vote.lead([len(group) for group in groups]), n - len(responses)):
        # vLLM gives the i-th of several responses the seed plus i, so the batches are the parts of one request for n.
        sampling = replace(config.sampling, n=batch, seed=None if seed is None else seed + len(responses))
        answered, reply = await ask(replace(config, sampling=sampling))
        asked.append((answered, reply))
        for response in reply.responses:
            index = len(responses)
            responses.append(response)
            answer = checker.extract(response.content) if response.content.strip() else None
            if answer is not None:
                answers[index] = answer
                await vote.place(groups, answers, index, equal)
    return _joined(responses, asked)


def _joined(responses: list[Response], asked: list[tuple[Answered, Reply]]) -> Drawn:
    first, last = asked[0][0], asked[-1][0]
    answered = replace(
        first,
        latency_s=last.started_at - first.started_at + last.latency_s,
        attempts=sum(answered.attempts for answered, _ in asked),
        gaps_ms=tuple(gap for answered, _ in asked for gap in answered.gaps_ms),
    )
    prompt = sum(reply.prompt_tokens for _, reply in asked)
    completion = sum(reply.completion_tokens for _, reply in asked)
    return Drawn(answered, Reply(tuple(responses), prompt, completion))
