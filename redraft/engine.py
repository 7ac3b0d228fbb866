"""What the kernel asks of an engine: one streaming call. It knows nothing of how the engine is reached.

`redraft.remote` implements it over OpenAI-compatible HTTP, `redraft.scripted` from a script, `server.engine.chat` in-process on vLLM.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from redraft.types import Message, Usage


@dataclass(frozen=True, slots=True)
class Generation:
    """One request for `n` completions of a chat.

    With `continue_final` the last message is the beginning of the assistant's reply and the engine goes on from its end.
    `top_logprobs` > 0 asks for that many log-probabilities at each generated token (at most 20).
    """

    messages: tuple[Message, ...]
    model: str
    max_tokens: int
    n: int = 1
    temperature: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    continue_final: bool = False
    top_logprobs: int = 0
    extra: Mapping[str, object] | None = None
    """Engine-specific fields, passed on as they are."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of choice `index`. `finish_reason` is set on its last piece."""

    index: int
    text: str
    finish_reason: str | None = None
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    """For each token of this piece: candidate token text -> natural-log probability."""


class Stream(Protocol):
    """An open generation. Leaving its context cancels what still runs; `usage` counts all that was generated so far."""

    @property
    def usage(self) -> Usage: ...

    def __aiter__(self) -> AsyncIterator[Chunk]: ...


class Engine(Protocol):
    """Anything that can complete chats. Raises `redraft.errors` for failures."""

    def stream(self, request: Generation) -> AbstractAsyncContextManager[Stream]: ...

    async def models(self) -> list[str]:
        """Names of the served models and adapters, base model first."""
        ...
