"""`score_model`: asks a model behind an OpenAI-compatible endpoint for a number, as JSON of a given shape. Knows no grader but that one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalsuite.graders.errors import Fault, GraderFailed
from evalsuite.graders.forms import ScoreModel

if TYPE_CHECKING:
    import httpx

PASSING = frozenset({408, 409, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
PAUSE_S = 0.5


class Judge:
    """An endpoint that judges. May be used from several threads; `close` it, or use it as a context."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        import httpx

        root = base_url.rstrip("/")
        self.retries = retries
        self._client = httpx.Client(
            base_url=root if root.endswith("/v1") else f"{root}/v1",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_s,
            transport=transport,
        )

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def score(self, grader: ScoreModel, messages: Sequence[tuple[str, str]]) -> float:
        """The model's number, inside the grader's range. `messages` are roles and texts."""
        content = self._content(grader, self._ask(grader, body_of(grader, messages)))
        try:
            value = json.loads(content)["score"]
        except (ValueError, RecursionError, TypeError, KeyError, IndexError):
            raise GraderFailed(grader.name, Fault.UNPARSABLE, f"expected JSON with a `score`, found {content[:80]!r}") from None
        if isinstance(value, bool) or not isinstance(value, int | float) or (isinstance(value, float) and math.isnan(value)):
            raise GraderFailed(grader.name, Fault.NOT_A_NUMBER, f"expected a number as `score`, found {str(value)[:80]!r}")
        low, high = grader.range
        if not low <= value <= high:
            raise GraderFailed(grader.name, Fault.OUT_OF_RANGE, f"expected a score from {low:g} to {high:g}, found {str(value)[:80]}")
        return float(value)

    def _ask(self, grader: ScoreModel, body: dict[str, Any]) -> httpx.Response:
        import httpx

        for attempt in range(self.retries + 1):
            try:
                reply = self._client.post("/chat/completions", json=body)
            except httpx.TransportError as error:
                detail = f"{type(error).__name__} {error}".strip()
            else:
                if reply.status_code == 200:
                    return reply
                detail = f"HTTP {reply.status_code}: {reply.text[:200]}"
                if reply.status_code not in PASSING:
                    raise GraderFailed(grader.name, Fault.REJECTED, detail)
            if attempt < self.retries:
                time.sleep(PAUSE_S * 2**attempt)
        raise GraderFailed(grader.name, Fault.UNREACHABLE, f"after {self.retries + 1} attempts: {detail}")

    def _content(self, grader: ScoreModel, reply: httpx.Response) -> str:
        try:
            choice = reply.json()["choices"][0]
            content, refusal = choice["message"].get("content"), choice["message"].get("refusal")
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            raise GraderFailed(grader.name, Fault.UNPARSABLE, f"expected a chat completion, found {reply.text[:80]!r}") from None
        if refusal:
            raise GraderFailed(grader.name, Fault.REJECTED, f"the model refused: {str(refusal)[:200]}")
        if choice.get("finish_reason") == "length":
            raise GraderFailed(grader.name, Fault.UNPARSABLE, "the reply was cut off; raise sampling_params.max_completions_tokens")
        if not isinstance(content, str):
            raise GraderFailed(grader.name, Fault.UNPARSABLE, "the reply has no text")
        return content


def body_of(grader: ScoreModel, messages: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The body of the request: the messages, the sampling that was asked for, and the shape of the reply."""
    low, high = grader.range
    sampling = grader.sampling_params.model_dump(exclude_none=True)
    if "max_completions_tokens" in sampling:
        sampling["max_completion_tokens"] = sampling.pop("max_completions_tokens")
    schema = {
        "type": "object",
        "properties": {"reason": {"type": "string"}, "score": {"type": "number", "minimum": low, "maximum": high}},
        "required": ["reason", "score"],
        "additionalProperties": False,
    }
    return {
        "model": grader.model,
        "messages": [{"role": "system" if role == "developer" else role, "content": text} for role, text in messages],
        **sampling,
        "response_format": {"type": "json_schema", "json_schema": {"name": "grade", "strict": True, "schema": schema}},
    }
