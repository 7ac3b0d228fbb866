"""Bursts and long traffic on the real engine: every request is answered or refused, none is lost, memory stays where it was.

`REDRAFT_SOAK_S` says for how many seconds the traffic runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.servers import REDRAFT, free_port, running
from redraft import home
from tests.e2e.conftest import OFFLINE

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(7200)]

BURST = 500
SOAK_S = float(os.environ.get("REDRAFT_SOAK_S", "300"))
LOOP = {"drafts": 2, "rounds": 0, "response_tokens": 24, "max_tokens": 48}
SPARE_BYTES = 64 << 20
"""What a process may grow by between two measurements: allocators keep some."""
SPARE_FILES = 16
"""So many more files and sockets may the server have open: those of a scrape, of a worker that was replaced."""
REFUSED = {429, 503}
CACHE = ["--max-model-len", "2048", "--num-gpu-blocks-override", "64"]
"""A KV cache that the first burst fills: its memory is taken as its blocks are first used, and would look like growth."""


@dataclass(frozen=True)
class Soaked:
    url: str
    process: subprocess.Popen[bytes]

    def client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        return httpx.AsyncClient(base_url=self.url, timeout=900, trust_env=False, limits=limits)

    def memory(self) -> dict[str, int]:
        """Resident bytes by process: the server, and all it started."""
        server = psutil.Process(self.process.pid)
        found = [server, *server.children(recursive=True)]
        return {f"{process.pid} {' '.join(process.cmdline())[:40]}": process.memory_info().rss for process in found}

    def files(self) -> int:
        """Files and connections that the server has open."""
        return psutil.Process(self.process.pid).num_fds()

    async def series(self, *names: str) -> list[float]:
        async with self.client() as client:
            text = (await client.get("/metrics")).text
        return [sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)) for name in names]

    async def at_rest(self) -> None:
        gauges = ("redraft_loops_running", "redraft_loops_waiting", "vllm:num_requests_running", "vllm:num_requests_waiting")
        async with asyncio.timeout(300):
            while any(await self.series(*gauges)):
                await asyncio.sleep(0.5)


def solution(reply: httpx.Response) -> dict[str, Any]:
    """The result in a reply to `/solve`, whole or streamed; {} where there is none."""
    text = reply.text
    if "text/event-stream" not in reply.headers["content-type"]:
        return dict(json.loads(text))
    results = re.findall(r"^event: result\ndata: (.*)$", text, re.MULTILINE)
    whole = len(results) == 1 and "event: error" not in text and text.endswith("data: [DONE]\n\n")
    return dict(json.loads(results[0])) if whole else {}


@dataclass
class Tally:
    statuses: Counter[int] = field(default_factory=Counter)
    ids: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def take(self, reply: httpx.Response) -> None:
        self.statuses[reply.status_code] += 1
        if reply.status_code == 200:
            found = solution(reply)
            self.ids[str(found.get("id"))] += 1
            if found.get("object") != "redraft.solution" or not found["usage"]["completion_tokens"] or not found["content"]:
                self.wrong.append(reply.text[:300])
        elif reply.status_code not in REFUSED or "retry-after" not in reply.headers or "error" not in reply.json():
            self.wrong.append(f"{reply.status_code}: {reply.text[:300]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soaked]:
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("soak") / "redraft.log"
    with running([str(REDRAFT), "serve", "--port", str(port), *CACHE], health=f"{url}/health/ready", log=log, env=OFFLINE) as found:
        yield Soaked(url, found.process)


async def burst(server: Soaked) -> Tally:
    tally = Tally()

    async def one(client: httpx.AsyncClient, number: int) -> None:
        body = {"problem": f"{number} + 4 = ?", "loop": LOOP, "stream": bool(number % 2)}
        tally.take(await client.post("/solve", json=body))

    async with server.client() as client, asyncio.TaskGroup() as group:
        for number in range(BURST):
            group.create_task(one(client, number))
    await server.at_rest()
    return tally


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """The processes that grew, and `all` where they did together: by new ones, or each by a little."""
    found = {name: after[name] - size for name, size in before.items() if after.get(name, 0) > size + SPARE_BYTES}
    more = sum(after.values()) - sum(before.values())
    return found | ({"all": more} if more > 2 * SPARE_BYTES else {})


def gone(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Processes of the engine that died or were replaced; workers of the answer checker come and go."""
    return {name for name in before.keys() - after.keys() if "VLLM" in name}


def test_a_reply_that_is_none_is_seen() -> None:
    """What the tests below call an answer."""
    result = {"object": "redraft.solution", "id": "solve-1", "content": "7", "usage": {"completion_tokens": 3}}
    told = f"event: result\ndata: {json.dumps(result)}\n\n"
    good, broken = (
        f": keep-alive\n\nevent: vote\ndata: {{}}\n\n{told}data: [DONE]\n\n",
        'event: error\ndata: {"error": {}}\n\ndata: [DONE]\n\n',
    )
    replies = {good: 0, json.dumps(result): 0, broken: 1, told: 1, good[:40]: 1, json.dumps({**result, "content": ""}): 1, "{}": 1}
    for text, wrong in replies.items():
        tally = Tally()
        kind = "application/json" if text.startswith("{") else "text/event-stream; charset=utf-8"
        tally.take(httpx.Response(200, text=text, headers={"content-type": kind}))
        assert len(tally.wrong) == wrong, text
    tally = Tally()
    refused = [httpx.Response(429, json={"error": {}}), httpx.Response(500, json={"error": {}}, headers={"retry-after": "2"})]
    for reply in [*refused, httpx.Response(429, json={"error": {}}, headers={"retry-after": "2"})]:
        tally.take(reply)
    assert len(tally.wrong) == 2


def test_growth_is_seen_whoever_grew() -> None:
    before = {"1 server": 100 << 20, "2 VLLM::EngineCore": 900 << 20}
    assert grown(before, before) == {}
    assert grown(before, before | {"1 server": 170 << 20}).keys() == {"1 server"}
    assert grown(before, before | {"3 other": 200 << 20}).keys() == {"all"}
    assert gone(before, {"1 server": 1, "4 VLLM::EngineCore": 1}) == {"2 VLLM::EngineCore"}


async def test_a_burst_is_answered_or_refused_and_leaves_nothing_behind(server: Soaked) -> None:
    for _ in range(2):  # pools have their size after the first, the products of the engine's batch sizes nearly theirs after the second
        await burst(server)
    before, files = server.memory(), server.files()
    for _ in range(2):
        (counted,) = await server.series("redraft_requests_total")
        tally = await burst(server)
        assert tally.wrong == []
        assert tally.statuses[200] >= 320  # all places, and all that may wait
        assert sum(tally.statuses.values()) == BURST
        assert max(tally.ids.values()) == 1, "two requests got the same answer"
        assert await server.series("redraft_requests_total") == [counted + BURST]
    after = server.memory()
    print({name: (size >> 20, after.get(name, 0) >> 20) for name, size in before.items()}, files, server.files())
    assert gone(before, after) == set()
    assert grown(before, after) == {}
    assert server.files() <= files + SPARE_FILES


async def test_hours_of_mixed_traffic_change_nothing(server: Soaked) -> None:
    """Loops, streams, keyed retries, chats and clients that go away, side by side; measured from a third of the time on."""
    choice, tally = random.Random(0), Tally()
    chat = {"model": home.DEFAULT_MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}

    async def visits(client: httpx.AsyncClient, visitor: str, over: float) -> None:
        number = 0
        while time.monotonic() < over:
            number += 1
            body: dict[str, Any] = {"problem": f"{visitor} + {number} = ?", "loop": LOOP, "stream": choice.random() < 0.5}
            match choice.randrange(4):
                case 0:
                    assert (await client.post("/v1/chat/completions", json=chat)).status_code == 200
                case 1:
                    key = {"Idempotency-Key": f"{visitor}-{number}"}
                    first, again = await asyncio.gather(*(client.post("/solve", json=body, headers=key) for _ in range(2)))
                    assert solution(first) == solution(again)
                    tally.take(first)
                case 2:
                    gone = asyncio.create_task(client.post("/solve", json=body))
                    await asyncio.sleep(choice.random())
                    gone.cancel()
                case _:
                    tally.take(await client.post("/solve", json=body))

    async def traffic(name: str, seconds: float) -> None:
        over = time.monotonic() + seconds
        async with server.client() as client, asyncio.TaskGroup() as group:
            for visitor in range(24):
                group.create_task(visits(client, f"{name}-{visitor}", over))
        await server.at_rest()

    await burst(server)
    await traffic("first", SOAK_S / 3)  # other lengths and batches than a burst has: their buffers and kernels are kept
    before, files = server.memory(), server.files()
    await traffic("then", SOAK_S * 2 / 3)
    after = server.memory()
    print(tally.statuses, {name: (size >> 20, after.get(name, 0) >> 20) for name, size in before.items()}, files, server.files())
    assert tally.wrong == []
    assert tally.statuses.keys() == {200}, "there is a place for each of the visitors"
    assert max(tally.ids.values()) == 1
    assert gone(before, after) == set()
    assert grown(before, after) == {}
    assert server.files() <= files + SPARE_FILES
