"""Server-sent events over a running job: keep-alive comments, cancellation on disconnect, real statuses for what fails at once.

A stream's status cannot be changed once it is sent. So the response is held back until the job opens it (its first text), fails, or
has been silent for as long as a keep-alive: a refusal before that has its own status, one after it is an error event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope
from starlette.types import Send as AsgiSend

from redraft.errors import RedraftError
from server.errors import body_of

T = TypeVar("T")

KEEP_ALIVE = ": keep-alive\n\n"
DONE = "data: [DONE]\n\n"
CLIENT_GONE = 499
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def compact(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def event(data: Any, *, name: str | None = None) -> str:
    """One SSE event; without a name, as OpenAI's chunks are."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {compact(data)}\n\n"


class Send(Protocol):
    """What a job sends with. `open` says that the engine has taken the request: from now on the stream is a 200."""

    def __call__(self, item: str) -> None: ...

    def open(self) -> None: ...


class _Outbox:
    """What was sent and is not yet on its way to the client."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[str | None] = asyncio.Queue()
        self.opened = asyncio.Event()

    def __call__(self, item: str) -> None:
        self.items.put_nowait(item)

    def open(self) -> None:
        self.opened.set()


Job = Callable[[Send], Awaitable[None]]


class _Running:
    """A job and what it has sent."""

    def __init__(self, job: Job) -> None:
        self._send = _Outbox()
        self._job = job
        self._refused: RedraftError | None = None
        self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            await self._job(self._send)
        except RedraftError as error:
            self._refused = error
        finally:
            self._send.items.put_nowait(None)
            self._send.open()

    async def opening(self, timeout_s: float) -> bool:
        """Wait until the stream may begin; raise what the job raised before that."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._send.opened.wait(), timeout_s)
        if self._refused is not None:
            raise self._refused
        return True

    async def drain(self, keep_alive_s: float) -> AsyncIterator[str]:
        """What the job sends, then its late error if it had one, then `[DONE]`."""
        while True:
            try:
                item = await asyncio.wait_for(self._send.items.get(), keep_alive_s)
            except TimeoutError:
                yield KEEP_ALIVE
                continue
            if item is None:
                break
            yield item
        await self._task
        if self._refused is not None:
            yield event(body_of(self._refused))
        yield DONE

    async def cancel(self) -> None:
        """Cancel the job and wait until it has stopped."""
        self._task.cancel()
        await asyncio.shield(asyncio.gather(self._task, return_exceptions=True))


class _JobResponse(StreamingResponse):
    """Ends the job however the response ends, also when its body was never asked for."""

    def __init__(self, running: _Running, keep_alive_s: float) -> None:
        super().__init__(running.drain(keep_alive_s), media_type="text/event-stream", headers=HEADERS)
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._running.cancel()


async def sse(request: Request, job: Job, *, keep_alive_s: float) -> Response:
    """The job's stream. Raises the typed error of a job that fails before it opens."""
    running = _Running(job)
    try:
        begun = await until_disconnect(request, running.opening(keep_alive_s))
    except (RedraftError, asyncio.CancelledError):
        await running.cancel()
        raise
    if begun is None:
        await running.cancel()
        return Response(status_code=CLIENT_GONE)
    return _JobResponse(running, keep_alive_s)


async def whole(request: Request, job: Job) -> Response:
    """The job's one item, which is JSON. Nobody reads it when the client has gone."""
    outbox = _Outbox()

    async def work() -> str | None:
        await job(outbox)
        return outbox.items.get_nowait()

    item = await until_disconnect(request, work())
    return Response(status_code=CLIENT_GONE) if item is None else Response(item, media_type="application/json")


async def until_disconnect(request: Request, work: Awaitable[T]) -> T | None:
    """The result of `work`, or None when the client went away first; then the work is cancelled and over."""
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
