"""The loop as an ordinary chat model: `NAME:loop` on `/v1/chat/completions`, streamed or whole, as OpenAI's specification has it.

`content` is the final solution; drafts, critiques and revisions come as `reasoning` and, for clients that look there,
`reasoning_content`. `usage` counts all that was generated, broken down by stage under `usage.loop`.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from redraft import loop
from redraft.errors import BadRequest
from redraft.events import Event, StepText
from redraft.options import LoopOptions
from redraft.types import LoopResult, Message, Stop
from server import services, stream
from server.admission import Deadline
from server.config import Limits, LoopDefaults
from server.errors import of_validation
from server.narrate import Narrator
from server.routes import schema
from server.routes.solve import run_loop
from server.services import LOOP_SUFFIX

PASSIVE = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "reasoning_effort", "request_id"}
)
"""Fields that change nothing about an answer: taken and not used."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "n": (1,),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "stop": ([],),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_p": (1,),
}
"""Fields of single chat requests that a loop cannot honour, with the values that ask for nothing."""


def is_loop(model: object) -> bool:
    return isinstance(model, str) and model.endswith(LOOP_SUFFIX)


class StreamOptions(BaseModel):
    include_usage: bool = False


class LoopChatRequest(BaseModel):
    """The fields of a chat request that a loop honours; others are refused by name in `parse`."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[schema.ChatMessage] = Field(min_length=1)
    critic: str | None = None
    loop: schema.LoopParams = schema.LoopParams()
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = Field(None, ge=0, lt=2**63)
    max_tokens: int | None = Field(None, ge=8)
    max_completion_tokens: int | None = Field(None, ge=8)

    def options(self, defaults: LoopDefaults, limits: Limits) -> LoopOptions:
        """`loop`, completed by the plain chat fields: `max_tokens` bounds one response, as it does in any chat."""
        drafts = self.loop.drafts or defaults.drafts
        if self.temperature == 0 and self.loop.temperature is None and drafts > 1:
            raise BadRequest("`temperature` must be above 0 for several drafts: greedy ones are all the same", param="temperature")
        longest = self.max_completion_tokens or self.max_tokens
        plain = {"temperature": self.temperature, "seed": self.seed, "response_tokens": longest}
        completed = self.loop.model_copy(update={k: v for k, v in plain.items() if getattr(self.loop, k) is None})
        return completed.options(defaults, limits)


def parse(body: object) -> LoopChatRequest:
    try:
        request = LoopChatRequest.model_validate(body)
    except ValidationError as error:
        raise of_validation(error.errors()) from error
    for name, value in (request.model_extra or {}).items():
        if name not in PASSIVE and value is not None and value not in NEUTRAL.get(name, ()):
            raise BadRequest(f"`{name}` is not supported by `{request.model}`: a loop samples, judges and votes by itself", param=name)
    return request


class _Chunks:
    """Chunks of one streamed completion: the same id, time and model in each."""

    def __init__(self, model: str, send: stream.Send, *, include_usage: bool) -> None:
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
        self._send = send
        self._no_usage = {"usage": None} if include_usage else {}

    def delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        self._send(stream.event({**self._head, "choices": [choice], **self._no_usage}))

    def reasoning(self, text: str) -> None:
        if text:
            self.delta({"reasoning": text, "reasoning_content": text})

    def usage(self, body: dict[str, Any]) -> None:
        self._send(stream.event({**self._head, "choices": [], "usage": body}))


def finish_reason(result: LoopResult) -> str:
    """`length` when a budget or the end of the server cut the loop off, else `stop`."""
    return "length" if result.stop in {Stop.MAX_TOKENS, Stop.MAX_CALLS, Stop.DEADLINE, Stop.DRAINING} else "stop"


async def chat_loop(body: object, request: Request) -> Response:
    """Answer a chat request for `NAME:loop`. Raises typed errors before anything is sent."""
    asked = parse(body)
    parts = services.of(request)
    options = asked.options(parts.settings.loop, parts.settings.limits)
    deadline = Deadline.after(options.deadline_s)
    model, critic = await parts.models_of(request, asked.model, asked.critic, deadline)
    messages: list[Message] = [m.message() for m in asked.messages]
    loop.last_problem(messages)
    include_usage = asked.stream_options is not None and asked.stream_options.include_usage

    async def job(send: stream.Send) -> None:
        chunks = _Chunks(asked.model, send, include_usage=include_usage)
        chunks.delta({"role": "assistant", "content": ""})
        narrator = Narrator(chunks.reasoning)

        def emit(happened: Event) -> None:
            if isinstance(happened, StepText):
                send.open()
            narrator.feed(happened)

        result = await run_loop(parts, messages, model=model, critic=critic, options=options, deadline=deadline, emit=emit)
        chunks.delta({"content": result.content})
        chunks.delta({}, finish_reason(result))
        if include_usage:
            chunks.usage(schema.loop_usage_body(result))

    if asked.stream:
        return await stream.sse(request, job, keep_alive_s=parts.settings.keep_alive_s)
    story: list[str] = []
    narrator = Narrator(story.append)
    result = await stream.until_disconnect(
        request, run_loop(parts, messages, model=model, critic=critic, options=options, deadline=deadline, emit=narrator.feed)
    )
    return Response(status_code=stream.CLIENT_GONE) if result is None else JSONResponse(_completion(asked.model, result, "".join(story)))


def _completion(model: str, result: LoopResult, story: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": result.content, "refusal": None, "reasoning": story, "reasoning_content": story}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(result)}],
        "usage": schema.loop_usage_body(result),
        "outcome": schema.outcome_body(result) | {"answer": result.answer},
    }
