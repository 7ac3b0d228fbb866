"""The strategies as requests, and their replies as one form. Knows the wire forms, no tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evalsuite.config import RunConfig, Strategy
from evalsuite.tasks import Problem
from redraft.errors import EngineFailed
from redraft.prompts import SOLVE_SYSTEM
from redraft.types import Message, Stage, Verdict

CHAT = "/v1/chat/completions"
PATHS = {
    Strategy.DIRECT: CHAT,
    Strategy.VOTE: CHAT,
    Strategy.ADAPTIVE: CHAT,
    Strategy.LOOP: "/solve",
    Strategy.CRITIQUE: "/critique",
}


@dataclass(frozen=True, slots=True)
class Response:
    """One response of the model, as it came."""

    content: str
    finish_reason: str
    reasoning: str | None = None


def drafts_of(detail: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The drafts and revisions in a loop's transcript, in its order."""
    transcript = (detail or {}).get("transcript") or []
    return [step for step in transcript if step.get("stage") in (Stage.SOLVE, Stage.REVISE)]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said about one problem."""

    responses: tuple[Response, ...]
    prompt_tokens: int
    completion_tokens: int
    answer: str | None = None
    """For `loop` the answer that the server itself chose, for `critique` the verdict."""
    detail: Mapping[str, Any] | None = None
    """What else the server said, as it came: outcome, transcript and timing of a loop, `p_correct` of a critique."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def chat_messages(config: RunConfig, problem: str) -> list[Message]:
    """The conversation that asks for `problem`: the system message, the few-shot examples as turns, the problem."""
    system: list[Message] = [{"role": "system", "content": config.system}] if config.system else []
    turns: list[Message] = []
    for shot in config.shots:
        turns += [{"role": "user", "content": shot.problem}, {"role": "assistant", "content": shot.response}]
    return [*system, *turns, {"role": "user", "content": problem}]


def request_body(config: RunConfig, problem: Problem) -> dict[str, Any]:
    """The JSON body that asks for `problem` in the way of `config`."""
    match config.strategy:
        case Strategy.LOOP:
            body = _solve_body(config, problem.problem)
        case Strategy.CRITIQUE:
            body = _critique_body(config, problem)
        case Strategy.DIRECT | Strategy.VOTE | Strategy.ADAPTIVE:
            body = _chat_body(config, problem.problem)
    return _without_none(body)


def read_reply(config: RunConfig, body: Mapping[str, Any]) -> Reply:
    """The reply in a 200's body. Raises EngineFailed when it has another form than it must."""
    try:
        match config.strategy:
            case Strategy.LOOP:
                return _read_solve(body)
            case Strategy.CRITIQUE:
                return _read_critique(body)
            case Strategy.DIRECT | Strategy.VOTE | Strategy.ADAPTIVE:
                return _read_chat(body, config.sampling.n or 1)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise EngineFailed(
            f"{PATHS[config.strategy]}: the reply has another form than expected: {type(error).__name__}: {error}"
        ) from error


def _without_none(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _chat_body(config: RunConfig, problem: str) -> dict[str, Any]:
    sampling = config.sampling
    return {
        "model": config.model,
        "messages": chat_messages(config, problem),
        "n": sampling.n,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
        **(sampling.extra or {}),
    }


def _solve_body(config: RunConfig, problem: str) -> dict[str, Any]:
    sampling = config.sampling
    loop = {
        "drafts": sampling.n,
        "rounds": sampling.rounds,
        "critique": sampling.critique,
        "response_tokens": sampling.max_tokens,
        "max_tokens": sampling.budget,
        "deadline_s": sampling.deadline_s,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
    }
    plain = config.system == SOLVE_SYSTEM and not config.shots
    asked = {"problem": problem} if plain else {"messages": chat_messages(config, problem)}
    return {**asked, "model": config.model, "critic": config.critic, "loop": _without_none(loop)}


def _critique_body(config: RunConfig, problem: Problem) -> dict[str, Any]:
    return {"problem": problem.problem, "response": problem.response, "model": config.model, "max_tokens": config.sampling.max_tokens}


def _read_chat(body: Mapping[str, Any], n: int) -> Reply:
    responses = tuple(_response(choice) for choice in body["choices"])
    if len(responses) != n:
        raise EngineFailed(f"asked for {n} responses, got {len(responses)}")
    usage = body.get("usage") or {}
    return Reply(responses, int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0)))


def _response(choice: Mapping[str, Any]) -> Response:
    message = choice["message"]
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    return Response(message.get("content") or "", choice.get("finish_reason") or "unknown", reasoning)


def _read_solve(body: Mapping[str, Any]) -> Reply:
    usage = body["usage"]
    detail = {name: body.get(name) for name in ("outcome", "transcript", "timing")}
    detail["usage"] = usage.get("loop")
    answer = body["answer"]
    stop = (body.get("outcome") or {}).get("stop") or "stop"
    return Reply(
        (Response(body.get("content") or "", str(stop)),),
        int(usage["prompt_tokens"]),
        int(usage["completion_tokens"]),
        answer if answer is None else str(answer),
        detail,
    )


def _read_critique(body: Mapping[str, Any]) -> Reply:
    usage = body["usage"]
    p_correct = body.get("p_correct")
    return Reply(
        (Response(body.get("critique") or "", "stop"),),
        int(usage["prompt_tokens"]),
        int(usage["completion_tokens"]),
        str(Verdict(body["verdict"])),
        {"p_correct": None if p_correct is None else float(p_correct), "reason": body.get("reason"), "timing": body.get("timing")},
    )
