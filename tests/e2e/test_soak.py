"""Bursts and long traffic on the real engine: every request is answered or refused, none is lost, memory stays where it was.

`REDRAFT_SOAK_S` says for how many seconds the traffic runs.
"""

from __future__ import annotations

import asyncio
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
REFUSED = {429, 503}


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

    async def series(self, *names: str) -> list[float]:
        async with self.client() as client:
            text = (await client.get("/metrics")).text
        return [sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)) for name in names]

    async def at_rest(self) -> None:
        gauges = ("redraft_loops_running", "redraft_loops_waiting", "vllm:num_requests_running", "vllm:num_requests_waiting")
        async with asyncio.timeout(300):
            while any(await self.series(*gauges)):
                await asyncio.sleep(0.5)


@dataclass
class Tally:
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def take(self, reply: httpx.Response) -> None:
        self.statuses[reply.status_code] += 1
        if reply.status_code == 200:
            body = reply.text
            if '"redraft.solution"' not in body and not body.endswith("data: [DONE]\n\n"):
                self.wrong.append(body[:300])
        elif reply.status_code not in REFUSED or "retry-after" not in reply.headers or "error" not in reply.json():
            self.wrong.append(f"{reply.status_code}: {reply.text[:300]}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soaked]:
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("soak") / "redraft.log"
    with running([str(REDRAFT), "serve", "--port", str(port)], health=f"{url}/health/ready", log=log, env=OFFLINE) as found:
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
    return {name: after[name] - size for name, size in before.items() if after.get(name, 0) > size + SPARE_BYTES}


async def test_a_burst_is_answered_or_refused_and_leaves_nothing_behind(server: Soaked) -> None:
    await burst(server)  # pools and caches have their size after the first
    before = server.memory()
    for _ in range(2):
        (counted,) = await server.series("redraft_requests_total")
        tally = await burst(server)
        assert tally.wrong == []
        assert tally.statuses[200] >= 320  # all places, and all that may wait
        assert sum(tally.statuses.values()) == BURST
        assert await server.series("redraft_requests_total") == [counted + BURST]
    after = server.memory()
    print({name: (size >> 20, after.get(name, 0) >> 20) for name, size in before.items()})
    assert grown(before, after) == {}


async def test_hours_of_mixed_traffic_change_nothing(server: Soaked) -> None:
    """Loops, streams, keyed retries, chats and clients that go away, side by side."""
    choice, tally = random.Random(0), Tally()
    over = time.monotonic() + SOAK_S
    chat = {"model": home.DEFAULT_MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}

    async def visits(client: httpx.AsyncClient, visitor: int) -> None:
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
                    assert first.text == again.text
                    tally.take(first)
                case 2:
                    gone = asyncio.create_task(client.post("/solve", json=body))
                    await asyncio.sleep(choice.random())
                    gone.cancel()
                case _:
                    tally.take(await client.post("/solve", json=body))

    await burst(server)
    before = server.memory()
    async with server.client() as client, asyncio.TaskGroup() as group:
        for visitor in range(24):
            group.create_task(visits(client, visitor))
    await server.at_rest()
    after = server.memory()
    print(tally.statuses, {name: (size >> 20, after.get(name, 0) >> 20) for name, size in before.items()})
    assert tally.wrong == []
    assert grown(before, after) == {}
