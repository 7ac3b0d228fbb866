"""An engine reached over OpenAI-compatible HTTP: vLLM, SGLang, the vLLM production stack, Ray Serve LLM.

One connection pool for all calls; leaving a stream closes its connection, which is how such engines learn to stop working.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from httpx_sse import EventSource

from redraft import wire
from redraft.engine import Chunk, Generation
from redraft.errors import EngineFailed, EngineTimeout, EngineUnavailable, RedraftError
from redraft.types import Usage

RETRY_AFTER_S = 5.0
EVENT_STREAM = "text/event-stream"


def api_root(url: str) -> str:
    """`http://host:port` with or without `/v1` -> the address without it."""
    return url.rstrip("/").removesuffix("/v1")


class RemoteEngine:
    """`client` may be given (a shared pool, a test's transport); it is closed with the engine only when the engine made it."""

    def __init__(
        self, url: str, *, api_key: str | None = None, read_timeout_s: float = 120.0, client: httpx.AsyncClient | None = None
    ) -> None:
        self.root = api_root(url)
        self._own = client is None
        self.client = client or httpx.AsyncClient(
            timeout=httpx.Timeout(read_timeout_s, connect=5.0, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )
        self.headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def aclose(self) -> None:
        if self._own:
            await self.client.aclose()

    async def models(self) -> list[str]:
        try:
            response = await self.client.get(f"{self.root}/v1/models", headers=self.headers)
        except httpx.HTTPError as error:
            raise self.failure(error) from error
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response)
        try:
            return [str(model["id"]) for model in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise EngineFailed(f"the engine at {self.root} answered no list of models") from error

    @asynccontextmanager
    async def stream(self, request: Generation) -> AsyncIterator[_RemoteStream]:
        body = wire.request_body(request)
        try:
            async with self.client.stream("POST", f"{self.root}/v1/chat/completions", json=body, headers=self.headers) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise self._refusal(response)
                if EVENT_STREAM not in response.headers.get("content-type", ""):
                    raise EngineFailed(f"the engine at {self.root} answered {response.headers.get('content-type')}, not {EVENT_STREAM}")
                yield _RemoteStream(EventSource(response), wire.Reader(request.n))
        except httpx.HTTPError as error:
            raise self.failure(error) from error

    def failure(self, error: httpx.HTTPError) -> RedraftError:
        """The typed error for a transport failure."""
        if isinstance(error, httpx.ReadTimeout):
            return EngineTimeout(f"the engine at {self.root} did not answer in time")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            return EngineUnavailable(f"the engine at {self.root} cannot be reached", retry_after_s=RETRY_AFTER_S)
        return EngineFailed(f"the engine at {self.root} broke off: {type(error).__name__}")

    def _refusal(self, response: httpx.Response) -> RedraftError:
        try:
            body = response.json()
        except ValueError:
            body = response.text[:200]
        if response.status_code in {401, 403}:
            return EngineFailed(
                f"the engine at {self.root} refused this server's key (HTTP {response.status_code}): set REDRAFT_ENGINE_API_KEY"
            )
        after = response.headers.get("retry-after", "")
        return wire.error_of(response.status_code, body, retry_after_s=float(after) if after.isdecimal() else None)


class _RemoteStream:
    def __init__(self, source: EventSource, reader: wire.Reader) -> None:
        self._source = source
        self._reader = reader

    @property
    def usage(self) -> Usage:
        return self._reader.usage

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        async for event in self._source.aiter_sse():
            if event.data == wire.DONE:
                break
            for chunk in self._reader.feed(event.data):
                yield chunk
        self._reader.close()
