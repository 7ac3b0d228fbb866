"""What breaks, on the real engine under the supervisor: the engine killed, the engine stopped, the server told to end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.servers import REDRAFT, free_port, running
from redraft import home
from tests.e2e.conftest import OFFLINE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

HANG_S = 6
ENDLESS: dict[str, Any] = {"problem": "Tell a story.", "loop": {"drafts": 4, "rounds": 0, "response_tokens": 4000, "temperature": 1.5}}
SHORT: dict[str, Any] = {"problem": "2+2?", "loop": {"drafts": 1, "rounds": 0, "max_tokens": 8}}


@dataclass(frozen=True)
class Supervised:
    url: str
    process: subprocess.Popen[bytes]
    adapter: Path
    log: Path

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=120, trust_env=False)

    def below(self, title: str = "") -> list[psutil.Process]:
        """The processes under the supervisor whose title holds `title`."""
        return [child for child in psutil.Process(self.process.pid).children(recursive=True) if title in " ".join(child.cmdline())]

    async def ready(self) -> httpx.Response | None:
        """What the readiness probe says; None when nobody listens."""
        try:
            async with self.client() as client:
                return await client.get("/health/ready")
        except httpx.TransportError:
            return None


async def until(condition: Callable[[], Any], seconds: float = 240) -> Any:
    """The first true answer of `condition`, which may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, adapters: dict[str, Path]) -> Iterator[Supervised]:
    folder = tmp_path_factory.mktemp("broken")
    port = free_port()
    env = OFFLINE | {
        "REDRAFT_SUPERVISE": "true",
        "REDRAFT_HANG_S": str(HANG_S),
        "REDRAFT_DRAIN_S": "4",
        "REDRAFT_ADAPTERS__ROOTS": json.dumps([str(adapters["tiny"].parent)]),
        "REDRAFT_ADAPTERS__FOLDER": str(folder / "adapters"),
    }
    command, log = [str(REDRAFT), "serve", "--port", str(port)], folder / "redraft.log"
    url = f"http://127.0.0.1:{port}"
    with running(command, health=f"{url}/health/ready", log=log, env=env) as found:
        yield Supervised(url, found.process, adapters["tiny"], log)


async def busy(server: Supervised, client: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
    """A loop that runs, with work in the engine."""
    task = asyncio.create_task(client.post("/solve", json=ENDLESS))

    async def under_way() -> bool:
        assert not task.done(), task.result().text
        return "redraft_loops_running 1.0" in (await client.get("/metrics")).text

    await until(under_way)
    await asyncio.sleep(1)
    assert not task.done(), task.result().text
    return task


async def is_ready(server: Supervised) -> bool:
    reply = await server.ready()
    return reply is not None and reply.status_code == 200


async def standing_in(server: Supervised) -> httpx.Response | None:
    """What work is told while no server is up."""
    try:
        async with server.client() as client:
            reply = await client.post("/solve", json=SHORT)
    except httpx.TransportError:  # the dying server's own connections
        return None
    return reply if "is starting" in reply.text else None


async def test_a_stopped_engine_is_not_healthy_until_it_goes_on(server: Supervised) -> None:
    (core,) = server.below("EngineCore")
    async with server.client() as client:
        loop = await busy(server, client)
        core.suspend()
        try:
            reply = await loop
            assert (reply.status_code, reply.json()["error"]["type"]) == (503, "service_unavailable")
            assert int(reply.headers["retry-after"]) >= 1
            live, ready = await client.get("/health/live"), await client.get("/health/ready")
            assert (live.status_code, ready.status_code) == (503, 503)
            assert "no progress" in ready.json()["reason"]
            for path, body in (("/solve", SHORT), ("/v1/chat/completions", {"model": home.DEFAULT_MODEL, "messages": []})):
                late = await client.post(path, json=body)
                assert (late.status_code, "retry-after" in late.headers) == (503, True)
        finally:
            core.resume()
        await until(lambda: is_ready(server), 60)
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.post("/solve", json=SHORT)).status_code == 200
    assert server.below("EngineCore") == [core]


async def test_a_killed_engine_comes_back_with_its_adapters(server: Supervised) -> None:
    (core,) = server.below("EngineCore")
    async with server.client() as client:
        loaded = await client.post("/adapters", json={"name": "kept", "source": str(server.adapter)})
        assert loaded.status_code == 201, loaded.text
        revision = loaded.json()["revision"]
        loop = await busy(server, client)
        core.kill()
        reply = await loop
        assert (reply.status_code, reply.json()["error"]["type"]) == (503, "service_unavailable"), reply.text
        assert int(reply.headers["retry-after"]) >= 1
    late = await until(lambda: standing_in(server), 60)
    assert (late.status_code, int(late.headers["retry-after"]) >= 1) == (503, True)
    while not await is_ready(server):
        assert await server.ready() is not None, "the port was closed during the restart"
        await asyncio.sleep(0.2)
    (again,) = server.below("EngineCore")
    assert again.pid != core.pid
    async with server.client() as client:
        assert (await client.get("/adapters/kept")).json()["revision"] == revision
        body = {"model": "kept", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200


async def test_a_stopped_worker_of_an_idle_engine_is_noticed_and_replaced(server: Supervised) -> None:
    worker = server.below("Worker")[0]
    worker.suspend()
    fault = await until(lambda: not_ready(server), 60)
    assert "no progress" in fault["reason"]
    await until(lambda: not worker.is_running(), 120)
    await until(lambda: is_ready(server))
    assert "has not been live" in server.log.read_text(errors="replace")


async def not_ready(server: Supervised) -> Any:
    reply = await server.ready()
    return reply.json() if reply is not None and reply.status_code == 503 else None


async def test_sigterm_drains_and_leaves_nobody_behind(server: Supervised) -> None:
    everybody = server.below()
    async with server.client() as client:
        loop = await busy(server, client)
        os.kill(server.process.pid, signal.SIGTERM)
        fault = await until(lambda: not_ready(server), 30)
        assert "shutting down" in fault["reason"]
        late = await client.post("/solve", json=SHORT)
        assert (late.status_code, "retry-after" in late.headers) == (503, True)
        assert (await client.get("/health/live")).status_code == 200
        reply = await loop
        assert (reply.status_code, reply.json()["outcome"]["stop"]) == (200, "draining"), reply.text
        assert reply.json()["content"]
    assert await asyncio.to_thread(server.process.wait, 60) == 0
    assert [process for process in everybody if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
