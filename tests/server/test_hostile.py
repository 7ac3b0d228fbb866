"""Remote mode over an upstream that misbehaves: an answer by the deadline, or a typed error. Never a hang, never a 500."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from server.app import standalone
from server.config import ServeSettings
from tests.hostile import STREAM, Behaviour, Hostile, drips, event, hangs, refuses, resets, says, writes

GOOD = says(r"so \boxed{4}")
HALF = STREAM + event("so far ")
BODY: dict[str, Any] = {"problem": "2+2?", "loop": {"drafts": 3, "deadline_s": 0.4}}
FAULTS: dict[str, tuple[Behaviour, int, str]] = {
    "hangs before the headers": (hangs, 504, "timeout_error"),
    "hangs after the headers": (writes(STREAM, then=hangs), 504, "timeout_error"),
    "drips comments": (writes(STREAM, then=drips), 504, "timeout_error"),
    "closes before the headers": (writes(b""), 502, "engine_error"),
    "resets": (resets, 502, "engine_error"),
    "resets in the middle": (writes(HALF, then=resets), 502, "engine_error"),
    "sends half a stream": (writes(HALF), 502, "engine_error"),
    "is not HTTP": (writes(b"SSH-2.0-OpenSSH\r\n"), 502, "engine_error"),
    "sends what is not JSON": (writes(STREAM + b"data: {oops\n\n"), 502, "engine_error"),
    "sends a chunk of another form": (writes(STREAM + b'data: {"choices": [{"delta": 7}]}\n\n'), 502, "engine_error"),
    "sends a completion that was not asked for": (writes(STREAM + event("x", index=99, finish_reason="stop")), 502, "engine_error"),
    "sends another type": (writes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"), 502, "engine_error"),
    "sends broken compression": (writes(STREAM[:-2] + b"content-encoding: gzip\r\n\r\nplain"), 502, "engine_error"),
    "answers 429": (refuses(429, "retry-after: 7\r\n"), 429, "rate_limit_error"),
    "answers 500": (refuses(500), 502, "engine_error"),
    "answers 503": (refuses(503), 503, "service_unavailable"),
}
each_fault = pytest.mark.parametrize(("behaviour", "status", "kind"), FAULTS.values(), ids=FAULTS)


@asynccontextmanager
async def front(upstream: Hostile) -> Any:
    """The standalone app over it, in this event loop."""
    async with upstream.serving() as url:
        app = standalone(ServeSettings(engine_url=url, engine_timeout_s=30))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as client:
            yield client, app
        await app.state.redraft.engine.aclose()


@each_fault
async def test_where_all_calls_fail_the_error_is_typed(behaviour: Behaviour, status: int, kind: str) -> None:
    async with front(Hostile([behaviour])) as (client, _):
        reply = await asyncio.wait_for(client.post("/solve", json=BODY), 30)
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)
    if status == 429:
        assert reply.headers["retry-after"] == "7"


@each_fault
async def test_where_one_draft_was_made_it_is_the_answer(behaviour: Behaviour, status: int, kind: str) -> None:
    async with front(Hostile([GOOD, behaviour])) as (client, _):
        reply = await asyncio.wait_for(client.post("/solve", json=BODY), 30)
    body = reply.json()
    assert (reply.status_code, body["answer"]) == (200, "4"), body
    assert body["outcome"]["stop"] == ("deadline" if status == 504 else "engine_failed")


@pytest.mark.parametrize("fault", ["hangs after the headers", "sends half a stream"])
async def test_text_that_came_before_a_hang_is_better_than_nothing(fault: str) -> None:
    behaviour = writes(HALF, then=hangs) if "hangs" in fault else writes(HALF)
    async with front(Hostile([behaviour])) as (client, _):
        reply = await asyncio.wait_for(client.post("/solve", json=BODY), 30)
    if "hangs" in fault:
        assert (reply.json()["outcome"]["stop"], reply.json()["content"]) == ("deadline", "so far ")
    else:
        assert reply.status_code == 502


async def test_a_deadline_covers_the_question_which_models_there_are() -> None:
    async with front(Hostile([GOOD], models=hangs)) as (client, _):
        reply = await asyncio.wait_for(client.post("/solve", json=BODY), 30)
    assert (reply.status_code, reply.json()["error"]["type"]) == (504, "timeout_error")


@pytest.mark.parametrize(
    ("models", "status"), [(resets, 502), (writes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]"), 502), (refuses(503), 503)]
)
async def test_an_upstream_without_models_is_a_typed_error_and_not_ready(models: Behaviour, status: int) -> None:
    async with front(Hostile([GOOD], models=models)) as (client, _):
        assert (await client.post("/solve", json=BODY)).status_code == status
        ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")


async def test_a_hanging_upstream_is_not_ready_while_the_front_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.routes.health.ASK_S", 0.1)
    async with front(Hostile([GOOD], models=hangs)) as (client, _):
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["reason"]) == (503, "the engine did not answer within 0.1 s")
        assert (await client.get("/health/live")).status_code == 200


async def test_nothing_is_left_open_after_a_deadline() -> None:
    async with front(Hostile([hangs])) as (client, app):
        await client.post("/solve", json=BODY)
        parts = app.state.redraft
        assert (parts.admission.running, parts.admission.waiting) == (0, 0)
        assert all(connection.is_idle() or connection.is_closed() for connection in parts.engine.client._transport._pool.connections)
