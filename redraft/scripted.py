"""A deterministic engine that answers from a script: for tests, simulations and dry runs. It is real code, held to the same protocol.

A script is a function from a request to one `Reply` for each completion; text is streamed word by word, one word being one token.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from redraft.engine import Chunk, Generation
from redraft.errors import ModelNotFound, RedraftError
from redraft.types import Usage

_WORD = re.compile(r"\s*\S+\s*$|\s*\S+")


@dataclass(frozen=True, slots=True)
class Reply:
    """One completion. `top_logprobs` is what its first token reports; `error` is raised after its text was sent."""

    text: str
    top_logprobs: Mapping[str, float] = field(default_factory=dict)
    error: RedraftError | None = None
    delay_s: float = 0.0
    """Seconds before each word."""


Script = Callable[[Generation], Sequence[Reply]]


class ScriptedEngine:
    """Plays a script. `running` is the number of open generations; `requests` are all that came, in order."""

    def __init__(self, script: Script, *, models: Sequence[str] = ("scripted",)) -> None:
        self._script = script
        self._models = list(models)
        self.requests: list[Generation] = []
        self.running = 0

    async def models(self) -> list[str]:
        return list(self._models)

    @asynccontextmanager
    async def stream(self, request: Generation) -> AsyncIterator[_ScriptedStream]:
        if request.model not in self._models:
            raise ModelNotFound(f"the model `{request.model}` does not exist", param="model")
        self.requests.append(request)
        self.running += 1
        try:
            yield _ScriptedStream(request, list(self._script(request)))
        finally:
            self.running -= 1


class _ScriptedStream:
    def __init__(self, request: Generation, replies: Sequence[Reply]) -> None:
        if len(replies) != request.n:
            raise ValueError(f"the script gave {len(replies)} replies for n={request.n}")
        self._request = request
        self._replies = replies
        self._sent = 0

    @property
    def usage(self) -> Usage:
        prompt = sum(len(m["content"].split()) for m in self._request.messages)
        return Usage(prompt_tokens=prompt, completion_tokens=self._sent, calls=1)

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """Words of all completions in turn, as a batch decodes them."""
        words = [_WORD.findall(self._cut(reply.text)) for reply in self._replies]
        ended = [False] * len(words)
        step = 0
        while not all(ended):
            await asyncio.sleep(max(reply.delay_s for reply in self._replies))
            for index, reply in enumerate(self._replies):
                if ended[index]:
                    continue
                over = step >= min(len(words[index]), self._request.max_tokens)
                if over and reply.error is not None:
                    raise reply.error
                ended[index] = over
                if over:
                    cut = len(words[index]) > self._request.max_tokens
                    yield Chunk(index, "", "length" if cut else "stop")
                    continue
                self._sent += 1
                logprobs = (reply.top_logprobs,) if step == 0 and reply.top_logprobs else ()
                yield Chunk(index, words[index][step], None, logprobs)
            step += 1

    def _cut(self, text: str) -> str:
        places = [text.find(stop) for stop in self._request.stop if stop in text]
        return text[: min(places)] if places else text
