"""Models under examination on a real server: the base model, and adapters that it loads for their turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from benchmarks.exam import Paper, examine
from benchmarks.servers import REDRAFT, free_port, running
from evalsuite.endpoint import Endpoint
from redraft import prompts

NAME = "candidate"


@dataclass(frozen=True)
class Served:
    """A model of a server: the base, or an adapter by its name."""

    endpoint: Endpoint
    model: str

    async def judge(self, problem: str, response: str, max_tokens: int) -> dict[str, Any]:
        asked = {"model": self.model, "problem": problem, "response": response, "max_tokens": max_tokens}
        body = (await self.endpoint.post("/critique", asked)).body
        return {"verdict": body["verdict"], "p_correct": body["p_correct"], "tokens": body["usage"]["completion_tokens"]}

    async def solve(self, problem: str, max_tokens: int) -> dict[str, Any]:
        asked = {"model": self.model, "messages": list(prompts.solve_messages(problem)), "max_tokens": max_tokens, "temperature": 0}
        body = (await self.endpoint.post("/v1/chat/completions", asked)).body
        choice = body["choices"][0]
        whole = choice["finish_reason"] == "stop"
        return {"text": choice["message"]["content"] or "", "tokens": body["usage"]["completion_tokens"], "whole": whole}


class Server:
    """A `redraft serve` that lends candidates: the base model, or that with an adapter, which it lets go afterwards."""

    def __init__(self, url: str, base: str) -> None:
        self.url, self.base = url, base

    @contextmanager
    def wearing(self, adapter: Path | None) -> Iterator[str]:
        """The name under which the adapter answers. Raises httpx.HTTPStatusError where it is refused."""
        if adapter is None:
            yield self.base
            return
        with httpx.Client(base_url=self.url, timeout=120, trust_env=False) as client:
            client.post("/adapters", json={"name": NAME, "source": str(adapter)}).raise_for_status()
            try:
                yield NAME
            finally:
                client.delete(f"/adapters/{NAME}").raise_for_status()


@contextmanager
def serving(model: str, work: Path) -> Iterator[Server]:
    """The server of `model` (a folder or a name), which loads adapters from `work`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    env = {"REDRAFT_ADAPTERS__ROOTS": json.dumps([str(work)]), "REDRAFT_ADAPTERS__FOLDER": str(work / "store")}
    command = [str(REDRAFT), "serve", model, "--port", str(port), "--max-model-len", "2048"]
    with running(command, health=f"{url}/health/ready", log=work / "serve.log", env=env):
        named = httpx.get(f"{url}/v1/models", timeout=60, trust_env=False).json()["data"][0]["id"]
        yield Server(url, named)


def examine_served(server: Server, adapter: Path | None, papers: Sequence[Paper], log: Path, console: Console) -> None:
    """Have the base model, or it with `adapter`, answer what `log` does not hold yet."""

    async def sit(name: str) -> None:
        async with Endpoint(server.url) as endpoint:
            await examine(Served(endpoint, name), papers, log, console)

    with server.wearing(adapter) as name:
        asyncio.run(sit(name))
