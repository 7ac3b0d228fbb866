"""Server-sent events over a running job: keep-alive comments, cancellation on disconnect, errors inside a stream that has begun."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse

from redraft.errors import RedraftError
from server.errors import body_of

T = TypeVar("T")
Send = Callable[[str], None]
Job = Callable[[Send], Awaitable[None]]

KEEP_ALIVE = ": keep-alive\n\n"
DONE = "data: [DONE]\n\n"


def event(data: Any, *, name: str | None = None) -> str:
    """One SSE event; without a name, as OpenAI's chunks are."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def drain(job: Job, *, keep_alive_s: float) -> AsyncIterator[str]:
    """Run `job` and yield what it sends. Closing the iterator cancels the job and waits until it has stopped.

    A typed error becomes an error event; `[DONE]` ends every stream that was not cut off.
    """
    sent: asyncio.Queue[str | None] = asyncio.Queue()

    async def work() -> None:
        try:
            await job(sent.put_nowait)
        except RedraftError as error:
            sent.put_nowait(event(body_of(error)))
        finally:
            sent.put_nowait(None)

    task = asyncio.create_task(work())
    try:
        while True:
            try:
                item = await asyncio.wait_for(sent.get(), keep_alive_s)
            except TimeoutError:
                yield KEEP_ALIVE
                continue
            if item is None:
                break
            yield item
        await task
        yield DONE
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.shield(asyncio.gather(task, return_exceptions=True))


def sse(job: Job, *, keep_alive_s: float) -> StreamingResponse:
    return StreamingResponse(
        drain(job, keep_alive_s=keep_alive_s),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


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
