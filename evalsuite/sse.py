"""Puts a streamed chat completion together again and notes when its tokens came. Knows the wire form, no sockets and no clocks."""

from __future__ import annotations

from typing import Any

from evalsuite import unicode
from redraft.errors import EngineFailed, from_status

DONE = "[DONE]"


class Assembler:
    """Feed it the bytes of an event stream with the time of their arrival, then ask for the whole."""

    def __init__(self, begun: float) -> None:
        self._begun = begun
        self._rest = b""
        self._choices: dict[int, dict[str, Any]] = {}
        self._last: dict[int, float] = {}
        self._usage: dict[str, Any] | None = None
        self.ttft_s: float | None = None
        """Seconds from the beginning to the first text."""
        self.gaps_ms: list[float] = []
        """Milliseconds between pieces of text of one choice."""

    def feed(self, data: bytes, at: float) -> None:
        """Take in bytes that arrived at time `at`. Raises the typed error that an error payload carries."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                payload = line[5:].strip().decode(errors="replace")
                if payload and payload != DONE:
                    self._take(payload, at)

    def body(self) -> dict[str, Any]:
        """The completion as an unstreamed reply has it. Raises EngineFailed when the stream broke off before the end."""
        unfinished = [index for index, choice in self._choices.items() if choice["finish_reason"] is None]
        if unfinished or not self._choices:
            raise EngineFailed("the stream broke off before the reply was complete")
        if self._usage is None:
            raise EngineFailed("the stream carried no usage: the server ignores stream_options.include_usage")
        return {"choices": [self._choices[index] for index in sorted(self._choices)], "usage": self._usage}

    def _take(self, payload: str, at: float) -> None:
        try:
            chunk = unicode.loads(payload)
        except ValueError as error:
            raise EngineFailed(f"the stream carried something that is not JSON: {payload[:80]!r}") from error
        if not isinstance(chunk, dict):
            raise EngineFailed(f"the stream carried something that is no object: {payload[:80]!r}")
        if "error" in chunk:
            found = chunk["error"] if isinstance(chunk["error"], dict) else {"message": str(chunk["error"])}
            code = found.get("code")
            raise from_status(code if isinstance(code, int) else 502, str(found.get("message")))
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or ():
            self._piece(choice, at)

    def _piece(self, choice: dict[str, Any], at: float) -> None:
        index = choice["index"]
        whole = self._choices.setdefault(index, {"index": index, "message": {"content": "", "reasoning": ""}, "finish_reason": None})
        delta = choice.get("delta") or {}
        content = delta.get("content") or ""
        reasoning = delta.get("reasoning") or delta.get("reasoning_content") or ""
        whole["message"]["content"] += content
        whole["message"]["reasoning"] += reasoning
        whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]
        if content or reasoning:
            self._note(index, at)

    def _note(self, index: int, at: float) -> None:
        if self.ttft_s is None:
            self.ttft_s = at - self._begun
        if index in self._last:
            self.gaps_ms.append(round((at - self._last[index]) * 1000, 2))
        self._last[index] = at
