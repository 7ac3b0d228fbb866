"""The OpenAI chat wire form of the engine protocol: a request body from a `Generation`, chunks and usage from a reply's stream.

Used by every engine that speaks it, over HTTP or in-process. `continue_final_message` and `continuous_usage_stats` are the vLLM and
SGLang spellings. Knows no transport.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from redraft.engine import Chunk, Generation
from redraft.errors import EngineFailed, RedraftError, from_status
from redraft.types import Usage

DONE = "[DONE]"


def request_body(request: Generation) -> dict[str, Any]:
    """The JSON body of `POST /v1/chat/completions`, streamed, with running usage in each chunk."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": list(request.messages),
        "max_tokens": request.max_tokens,
        "n": request.n,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.continue_final:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body | dict(request.extra or {})


def error_of(status: int, body: object, *, retry_after_s: float | None = None) -> RedraftError:
    """The typed error for an error body in OpenAI's form, or in any other."""
    found = body.get("error", body) if isinstance(body, Mapping) else body
    message, param = str(found), None
    if isinstance(found, Mapping):
        message, param = str(found.get("message", found)), found.get("param")
    return from_status(status, message, param=param if isinstance(param, str) else None, retry_after_s=retry_after_s)


class Reader:
    """Turns the `data:` payloads of one streamed reply into chunks, and keeps its usage."""

    def __init__(self, n: int) -> None:
        self._completion = [0] * n
        self._prompt = 0
        self._cached = 0
        self._total: int | None = None
        self._open = set(range(n))

    @property
    def usage(self) -> Usage:
        """What was generated so far: the engine's own count once it is final, the sum of running counts before."""
        completion = sum(self._completion) if self._total is None else self._total
        return Usage(self._prompt, completion, self._cached, calls=1)

    def feed(self, data: str) -> list[Chunk]:
        """Chunks in one payload (none in a usage payload). Raises the typed error that an error payload carries."""
        try:
            payload = json.loads(data)
        except json.JSONDecodeError as error:
            raise EngineFailed(f"the engine sent a chunk that is not JSON: {data[:80]!r}") from error
        if not isinstance(payload, dict):
            raise EngineFailed(f"the engine sent a chunk that is no object: {data[:80]!r}")
        if "error" in payload:
            found = payload["error"]
            code = found.get("code") if isinstance(found, Mapping) else None
            raise error_of(code if isinstance(code, int) else 502, payload)
        choices = payload.get("choices") or []
        try:
            self._count(payload.get("usage"), choices)
            return [self._chunk(choice) for choice in choices]
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise EngineFailed(f"the engine sent a chunk of no known form: {data[:80]!r}") from error

    def close(self) -> None:
        """Say that the stream is over. Raises EngineFailed when a completion never finished."""
        if self._open:
            raise EngineFailed("the engine's stream broke off before the reply was complete")

    def _count(self, usage: Mapping[str, Any] | None, choices: list[Mapping[str, Any]]) -> None:
        if usage is None:
            for choice in choices:
                if (choice.get("delta") or {}).get("content"):
                    self._completion[choice["index"]] += 1
            return
        self._prompt = usage.get("prompt_tokens", 0) or self._prompt
        self._cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or self._cached
        if choices:
            self._completion[choices[0]["index"]] = usage.get("completion_tokens", 0)
        else:
            self._total = usage.get("completion_tokens", 0)

    def _chunk(self, choice: Mapping[str, Any]) -> Chunk:
        delta = choice.get("delta") or {}
        finish_reason = choice.get("finish_reason")
        if choice["index"] not in range(len(self._completion)):
            raise IndexError(choice["index"])
        if finish_reason is not None:
            self._open.discard(choice["index"])
        content = (choice.get("logprobs") or {}).get("content") or []
        logprobs = tuple({top["token"]: top["logprob"] for top in token.get("top_logprobs") or []} for token in content)
        return Chunk(choice["index"], delta.get("content") or "", finish_reason, logprobs)
