"""POSTs JSON to one server, with retries that obey Retry-After. Knows nothing of tasks or answers.

Raises `redraft.errors`: whatever comes out of here after the retries is the infrastructure's failure or a refused request,
never a model's.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

import aiohttp

from evalsuite import unicode
from evalsuite.sse import Assembler
from redraft.errors import BadRequest, EngineFailed, EngineTimeout, EngineUnavailable, Overloaded, RedraftError, from_status

ADDRESS = re.compile(r"https?://[^/\s]")
SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]+)?")
RETRIED = frozenset({408, 409, 425, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how often to try again."""

    timeout_s: float = 1800.0
    retries: int = 4
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    longest_retry_after_s: float = 300.0
    longest_overload_s: float = 1800.0
    """A server that is full (429) is not broken: it is asked again for so long, whatever `retries` says."""

    def wait_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Seconds before try number `attempt + 1`: what the server asked for, else doubling with jitter."""
        if retry_after_s is not None:
            return min(retry_after_s, self.longest_retry_after_s)
        ceiling = min(self.first_wait_s * 2.0 ** (attempt - 1), self.longest_wait_s)
        return ceiling * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Answered:
    """A 200 with a JSON object in it, put together again if it was streamed."""

    body: dict[str, Any]
    started_at: float
    """Unix time at which the try that succeeded was sent."""
    latency_s: float
    attempts: int
    ttft_s: float | None = None
    gaps_ms: tuple[float, ...] = ()
    queue_s: float = 0.0
    """Seconds from when the request was due to the send that was answered; waits between tries are in it."""


@dataclass(slots=True)
class Endpoint:
    """A server and the one connection pool to it. Use as an async context manager."""

    base_url: str
    api_key: str | None = None
    connections: int = 32
    patience: Patience = field(default_factory=Patience)
    _session: aiohttp.ClientSession | None = None

    def __post_init__(self) -> None:
        """Raises BadRequest for an address that no request could be sent to."""
        if not ADDRESS.match(self.base_url):
            raise BadRequest(
                f"base URL {self.base_url!r}: expected http:// or https:// and a host, such as http://127.0.0.1:8000", param="base_url"
            )
        self.base_url = self.base_url.rstrip("/").removesuffix("/v1")

    async def __aenter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=self.connections),
            timeout=aiohttp.ClientTimeout(total=self.patience.timeout_s),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._session is not None
        await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None, "enter the endpoint first"
        return self._session

    async def post(self, path: str, payload: Mapping[str, Any], *, stream: bool = False, due: float | None = None) -> Answered:
        """POST until it succeeds, is refused for good, or the retries are used up. `stream` is for chat completions alone.

        `due` is when the request should have been sent, by `time.perf_counter`; without it that is now.
        """
        tries, failures, overload_s = 0, 0, 0.0
        due = time.perf_counter() if due is None else due
        while True:
            tries += 1
            sent = time.perf_counter()
            try:
                answered = await (self._streamed if stream else self._whole)(path, payload)
                return replace(answered, attempts=tries, queue_s=max(0.0, sent - due))
            except Overloaded as error:
                wait_s = self.patience.wait_s(tries, error.retry_after_s)
                overload_s += wait_s
                if overload_s > self.patience.longest_overload_s:
                    raise
            except RedraftError as error:
                failures += 1
                if failures > self.patience.retries or not _worth_retrying(error):
                    raise
                wait_s = self.patience.wait_s(failures, error.retry_after_s)
            await asyncio.sleep(wait_s)

    async def get(self, path: str) -> dict[str, Any]:
        """GET a JSON object, once."""
        async with self._opened("GET", path, None) as response:
            raw = await response.read()
        return _object(raw, path)

    async def _whole(self, path: str, payload: Mapping[str, Any]) -> Answered:
        started_at, begun = time.time(), time.perf_counter()
        async with self._opened("POST", path, payload) as response:
            raw = await response.read()
        return Answered(_object(raw, path), started_at, time.perf_counter() - begun, 1)

    async def _streamed(self, path: str, payload: Mapping[str, Any]) -> Answered:
        started_at, begun = time.time(), time.perf_counter()
        reply = Assembler(begun)
        streamed = {**payload, "stream": True, "stream_options": {"include_usage": True}}
        async with self._opened("POST", path, streamed) as response:
            async for data in response.content.iter_any():
                reply.feed(data, time.perf_counter())
        latency_s = time.perf_counter() - begun
        return Answered(reply.body(), started_at, latency_s, 1, reply.ttft_s, tuple(reply.gaps_ms))

    @asynccontextmanager
    async def _opened(self, method: str, path: str, payload: Mapping[str, Any] | None) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 200 whose body is still to be read; what goes wrong until it is read becomes a typed error."""
        url = f"{self.base_url}{path}"
        try:
            async with self.session.request(method, url, json=payload) as response:
                if response.status != 200:
                    retry_after_s = _retry_after(response.headers.get("Retry-After"))
                    raise from_status(response.status, _message(await response.read(), response.status, url), retry_after_s=retry_after_s)
                yield response
        except TimeoutError as error:
            raise EngineTimeout(f"{url}: no answer within {self.patience.timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise EngineUnavailable(f"{url}: {error or type(error).__name__}") from error


def _object(raw: bytes, path: str) -> dict[str, Any]:
    try:
        body = unicode.loads(raw)
    except ValueError as error:
        raise EngineFailed(f"{path}: the answer is not JSON") from error
    if not isinstance(body, dict):
        raise EngineFailed(f"{path}: expected a JSON object, found {type(body).__name__}")
    return body


def _worth_retrying(error: RedraftError) -> bool:
    return error.status in RETRIED


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from either form of the header; None when there is none to be read."""
    if value is None:
        return None
    if SECONDS.fullmatch(value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    # A date whose zone is given as -0000 comes without one; it is a time in UTC all the same.
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _message(raw: bytes, status: int, url: str) -> str:
    """The server's own words: OpenAI's `error.message`, FastAPI's `detail`, or the beginning of the body."""
    text = raw.decode(errors="replace").strip()
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict):
        error = body.get("error")
        said = error.get("message") if isinstance(error, dict) else body.get("message") or body.get("detail")
        text = said if isinstance(said, str) else text
    return f"{url}: HTTP {status}: {text[:500] or 'no message'}"
