"""One chat completion from any OpenAI-compatible endpoint, whole and not streamed, tried again while its failure may pass.

Only the fields that every such endpoint knows are sent, but for those that a person adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from redraft import wire
from redraft.errors import EngineFailed, EngineTimeout, EngineUnavailable, Overloaded, RedraftError
from redraft.remote import api_root
from trainer.teachers.pace import Pace, retry_after
from trainer.teachers.replies import Reply

PASSING = (Overloaded, EngineFailed, EngineTimeout, EngineUnavailable)
"""Failures that another attempt may not meet."""
SLOW = {httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY, httpx.codes.CONFLICT}


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried again, and the first wait before that; it doubles."""

    retries: int = 5
    first_s: float = 1.0
    longest_hold_s: float = 600.0
    """An endpoint that asks to wait longer is taken to be closed for now."""


class Endpoint:
    """`url` with or without `/v1`. Counts what was sent. Close it after use."""

    def __init__(self, url: str, *, api_key: str | None, timeout_s: float, pace: Pace, patience: Patience) -> None:
        self.root = api_root(url)
        self.pace = pace
        self.patience = patience
        self.sent = 0
        self.client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=10.0, pool=None),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.aclose()

    async def complete(self, body: Mapping[str, Any]) -> Reply:
        """The reply to one request. Raises the last failure when patience is at its end, and at once one that would not pass."""
        attempt = 0
        while True:
            await self.pace.turn()
            try:
                return await self._once(body)
            except PASSING as error:
                asked = error.retry_after_s or 0.0
                if attempt == self.patience.retries or asked > self.patience.longest_hold_s:
                    raise
                self.pace.hold(asked)
                await self.pace.rest(attempt, self.patience.first_s)
                attempt += 1

    async def _once(self, body: Mapping[str, Any]) -> Reply:
        self.sent += 1
        try:
            answer = await self.client.post(f"{self.root}/v1/chat/completions", json=body)
        except httpx.ConnectTimeout as error:
            raise EngineUnavailable(f"{self.root} cannot be reached: it does not answer") from error
        except httpx.TimeoutException as error:
            raise EngineTimeout(f"{self.root} did not answer in time") from error
        except httpx.ConnectError as error:
            raise EngineUnavailable(f"{self.root} cannot be reached: {error}") from error
        except httpx.HTTPError as error:
            raise EngineFailed(f"{self.root} broke off: {type(error).__name__} {error}") from error
        if answer.status_code != httpx.codes.OK:
            raise _refusal(answer)
        return _reply(answer)


def _refusal(answer: httpx.Response) -> RedraftError:
    try:
        told = answer.json()
    except ValueError:
        told = answer.text[:200]
    status = httpx.codes.GATEWAY_TIMEOUT if answer.status_code in SLOW else answer.status_code
    return wire.error_of(status, told, retry_after_s=retry_after(answer.headers.get("retry-after", "")))


def _reply(answer: httpx.Response) -> Reply:
    try:
        body = answer.json()
        choice = body["choices"][0]
        text = choice["message"].get("content") or ""
        usage = body.get("usage") or {}
        return Reply(str(text), str(choice.get("finish_reason")), usage.get("prompt_tokens"), usage.get("completion_tokens"))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise EngineFailed(f"the endpoint answered 200 with something that is no chat completion: {answer.text[:120]!r}") from error
