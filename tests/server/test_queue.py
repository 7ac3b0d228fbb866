"""The queue as clients meet it: who holds a place, who frees one, what never queues, and that time in it counts."""

from __future__ import annotations

import asyncio
import re

import httpx

from redraft.engine import Generation
from redraft.scripted import Reply
from server.config import Limits
from tests.server.conftest import Serve, Served

ENDLESS = {"problem": "slowly", "loop": {"drafts": 1, "rounds": 0}}
SHORT = {"problem": "2+2?", "loop": {"drafts": 1, "rounds": 0}}
WORD_S = 0.01


def script(request: Generation) -> list[Reply]:
    slow = "slowly" in request.messages[-1]["content"]
    return [Reply("word " * 5000, delay_s=WORD_S) if slow else Reply(r"\boxed{4}")] * request.n


async def gauge(client: httpx.AsyncClient, name: str, value: int) -> None:
    """Wait until it has this value. Metrics are read while the queue is full: they never wait in it."""
    while re.findall(rf"^{name} (\S+)$", (await client.get("/metrics")).text, re.MULTILINE) != [f"{value}.0"]:
        await asyncio.sleep(0.01)


def full(serve: Serve, *, waiting: int) -> Served:
    return serve(script, limits=Limits(loops=1, waiting=waiting))  # type: ignore[arg-type]


async def test_a_stream_holds_its_place_to_its_end_and_probes_need_none(serve: Serve) -> None:
    async with full(serve, waiting=0).client() as client:
        async with client.stream("POST", "/solve", json={**ENDLESS, "stream": True}) as stream:
            lines = stream.aiter_lines()
            while "step.text" not in await anext(lines):
                pass
            refused = await client.post("/solve", json=SHORT)
            assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
            assert int(refused.headers["retry-after"]) >= 1
            for probe in ("/health", "/health/live", "/health/ready", "/metrics"):
                assert (await client.get(probe)).status_code == 200, probe
            assert "step.text" in await anext(line async for line in lines if line), "the stream still runs"
        await gauge(client, "redraft_loops_running", 0)
        assert (await client.post("/solve", json=SHORT)).status_code == 200


async def test_who_goes_away_while_waiting_makes_room(serve: Serve) -> None:
    async with full(serve, waiting=1).client() as client:
        running = asyncio.create_task(client.post("/solve", json=ENDLESS))
        await gauge(client, "redraft_loops_running", 1)
        for _ in range(2):
            waits = asyncio.create_task(client.post("/solve", json=SHORT))
            await gauge(client, "redraft_loops_waiting", 1)
            assert (await client.post("/solve", json=SHORT)).status_code == 429
            waits.cancel()
            await gauge(client, "redraft_loops_waiting", 0)
        waits = asyncio.create_task(client.post("/solve", json=SHORT))
        await gauge(client, "redraft_loops_waiting", 1)
        running.cancel()
        assert (await waits).status_code == 200


async def test_of_five_hundred_at_once_each_is_answered_or_refused(serve: Serve) -> None:
    """The same burst meets the real engine in the soak tests."""
    places, waiting, burst = 8, 92, 500
    served = serve(lambda request: [Reply("one two three", delay_s=WORD_S)] * request.n, limits=Limits(loops=places, waiting=waiting))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with served.client(limits=limits) as client:
        replies = await asyncio.gather(*(client.post("/solve", json={**SHORT, "stream": bool(k % 2)}) for k in range(burst)))
        for name in ("redraft_loops_running", "redraft_loops_waiting", "redraft_completions_running"):
            await gauge(client, name, 0)
        text = (await client.get("/metrics")).text
    answered = [reply for reply in replies if reply.status_code == 200]
    refused = [reply for reply in replies if reply.status_code == 429 and "retry-after" in reply.headers]
    assert len(answered) + len(refused) == burst
    assert len(answered) >= places + waiting
    assert all("redraft.solution" in reply.text for reply in answered)
    found = re.findall(r'^redraft_requests_total{outcome="(\w+)",route="solve"} (\S+)$', text, re.MULTILINE)
    ended = {"ok": len(answered), "refused": len(refused)}
    assert {outcome: float(count) for outcome, count in found} == {outcome: count for outcome, count in ended.items() if count}
    assert served.engine.running == 0


async def test_the_time_in_the_queue_counts(serve: Serve) -> None:
    deadline_s, waited_s = 1.0, 0.8
    async with full(serve, waiting=1).client() as client:
        running = asyncio.create_task(client.post("/solve", json=ENDLESS))
        await gauge(client, "redraft_loops_running", 1)
        late = asyncio.create_task(client.post("/solve", json={**ENDLESS, "loop": {**ENDLESS["loop"], "deadline_s": deadline_s}}))  # type: ignore[dict-item]
        await gauge(client, "redraft_loops_waiting", 1)
        await asyncio.sleep(waited_s)
        running.cancel()
        reply = await late
    if reply.status_code != 429:  # a busy machine may let all of it pass in the queue
        assert (reply.status_code, reply.json()["outcome"]["stop"]) == (200, "deadline")
        assert reply.json()["usage"]["completion_tokens"] <= (deadline_s - waited_s) / WORD_S + 2
