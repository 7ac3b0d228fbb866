"""A server that goes away: the door, the grace, the best so far, the exit code. The whole of it in a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.servers import free_port, running
from redraft.errors import EngineUnavailable
from redraft.halt import Halt
from redraft.scripted import Reply, ScriptedEngine
from server.admission import Admission
from server.drain import Drain
from tests.conftest import Script
from tests.openai_server import listening, upstream

REDRAFT = Path(sys.executable).with_name("redraft")
FIRST = r"so \boxed{4}"


def endless() -> list[Reply]:
    return [Reply(FIRST)] + [Reply("word " * 5000, delay_s=0.01)] * 4


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


class Front:
    """`redraft serve --engine-url` over a scripted engine."""

    def __init__(self, stack: ExitStack, script: Script, folder: Path, **env: str) -> None:
        self.engine = ScriptedEngine(script)
        behind = stack.enter_context(listening(upstream(self.engine)))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [str(REDRAFT), "serve", "--engine-url", behind, "--port", str(port)]
        found = running(command, health=f"{self.url}/health/ready", log=folder / "front.log", env=env)
        self.process: subprocess.Popen[bytes] = stack.enter_context(found).process

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=60, trust_env=False)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, 60)


async def refused(client: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    """The first 503 that is answered to `body`; the door closes within moments of the signal."""
    async with asyncio.timeout(30):
        while (reply := await client.post(path, json=body)).status_code != 503:
            await asyncio.sleep(0.01)
    return reply


async def test_sigterm_closes_the_door_and_stops_loops_with_their_best_after_the_grace(tmp_path: Path) -> None:
    with ExitStack() as stack:
        front = Front(stack, Script(endless()), tmp_path, REDRAFT_DRAIN_S="1.5")
        async with front.client() as client:
            body: dict[str, Any] = {"problem": "x", "loop": {"rounds": 0}}
            whole = asyncio.create_task(client.post("/solve", json=body))
            await until(lambda: front.engine.running == 1)
            streamed = asyncio.create_task(client.post("/solve", json={**body, "stream": True}))
            await until(lambda: front.engine.running == 2)
            front.process.send_signal(signal.SIGTERM)
            late = await refused(client, "/solve", {"problem": "x", "loop": {"max_tokens": 8}})
            assert late.json()["error"]["type"] == "service_unavailable"
            assert int(late.headers["retry-after"]) >= 1
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/metrics")).status_code == 200
            assert not whole.done()
            result = (await whole).json()
            assert (result["outcome"]["stop"], result["answer"]) == ("draining", "4")
            *_, last, done = (await streamed).text.split("data: ")
            assert (json.loads(last)["outcome"]["stop"], done.strip()) == ("draining", "[DONE]")
        assert await front.ended() == 0
        await until(lambda: front.engine.running == 0)


async def test_loops_may_end_within_the_grace_and_a_second_signal_ends_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        front = Front(stack, Script(endless()), tmp_path, REDRAFT_DRAIN_S="600")
        async with front.client() as client:
            long = asyncio.create_task(client.post("/solve", json={"problem": "x", "loop": {"rounds": 0}}))
            await until(lambda: front.engine.running == 1)
            short = asyncio.create_task(client.post("/solve", json={"problem": "x", "loop": {"rounds": 0, "max_tokens": 200}}))
            await until(lambda: front.engine.running == 2)
            front.process.send_signal(signal.SIGINT)
            assert (await short).json()["outcome"]["stop"] == "agreed"
            assert not long.done()
            front.process.send_signal(signal.SIGINT)
            assert (await long).json()["outcome"]["stop"] == "draining"
        assert await front.ended() == 0


async def test_the_drain_waits_for_who_is_present_and_no_longer() -> None:
    admission, halt = Admission(running=1, waiting=1), Halt()
    drain = Drain(admission, halt, grace_s=600)
    drain.present = 1
    task = asyncio.create_task(drain.run())
    await asyncio.sleep(0.1)
    assert not task.done()
    assert drain.refusal() is not None
    assert not halt.called
    with pytest.raises(EngineUnavailable):
        async with admission.place():
            pass
    drain.present = 0
    await task
    assert halt.called
