"""A model as teacher: one critique for one response, from the cache where it was paid for before. Knows no files of the stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trainer.origin import digest
from trainer.teachers import asking
from trainer.teachers.asking import Form, Judged, Unusable
from trainer.teachers.endpoint import Endpoint
from trainer.teachers.replies import Replies, Reply


@dataclass(frozen=True, slots=True)
class Manner:
    """Which model is asked, and how: all that decides a reply."""

    model: str
    form: Form = Form.STRUCTURED
    temperature: float = 0.3
    top_p: float | None = None
    max_tokens: int = 3200
    seed: int = 0
    """Not sent; another seed asks for other replies than those in the cache."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request to add or to change; null takes one out."""

    def identity(self) -> str:
        return digest([asking.VERSION, self.model, self.form, self.temperature, self.top_p, self.max_tokens, self.seed, dict(self.extra)])

    def body(self, problem: str, response: str) -> dict[str, Any]:
        """The request, as it is sent."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(asking.ask(self.form, problem, response)),
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            **self.extra,
        }
        return {name: value for name, value in body.items() if value is not None}


@dataclass(slots=True)
class Spent:
    """Replies and their tokens, and what they cost by the price of a million tokens."""

    price_in: float | None = None
    price_out: float | None = None
    replies: int = 0
    uncounted: int = 0
    """Replies whose tokens the endpoint did not tell."""
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def pay(self, prompt_tokens: int | None, completion_tokens: int | None) -> None:
        self.replies += 1
        self.uncounted += prompt_tokens is None or completion_tokens is None
        self.prompt_tokens += prompt_tokens or 0
        self.completion_tokens += completion_tokens or 0

    @property
    def cost(self) -> float | None:
        """None without prices."""
        if self.price_in is None and self.price_out is None:
            return None
        return (self.prompt_tokens * (self.price_in or 0.0) + self.completion_tokens * (self.price_out or 0.0)) / 1_000_000

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "cost": self.cost}

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", cost {self.cost:.4f}"
        untold = f" ({self.uncounted} without a count)" if self.uncounted else ""
        return f"{self.replies} replies{untold}, {self.prompt_tokens} + {self.completion_tokens} tokens{cost}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question."""

    judged: Judged | Unusable
    reply: Reply


class ModelTeacher:
    """`spent` counts what is paid from now on, `cached` the replies that were there."""

    def __init__(self, endpoint: Endpoint, manner: Manner, replies: Replies, spent: Spent) -> None:
        self.endpoint = endpoint
        self.manner = manner
        self.replies = replies
        self.spent = spent
        self.cached = 0

    async def critique(self, problem: str, response: str, sample: int = 0) -> Answer:
        """One critique; `sample` tells apart several of the same response. Raises the endpoint's errors."""
        body = self.manner.body(problem, response)
        key = digest([body, self.manner.seed, sample])
        reply = self.replies.get(key)
        if reply is None:
            reply = await self.endpoint.complete(body)
            self.replies.put(key, reply)
            self.spent.pay(reply.prompt_tokens, reply.completion_tokens)
        else:
            self.cached += 1
        return Answer(asking.read(self.manner.form, reply.text, reply.finish_reason), reply)
