"""Two server processes that follow one declared file: both converge on it, also one that was killed while the file changed."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.servers import REDRAFT, Running, free_port, running
from tests.e2e.conftest import OFFLINE
from tests.e2e.test_adapters import PROMPTS, ask, poisoned
from tests.e2e.test_lora import distance

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@dataclass
class Replica:
    """One process with copies of its own; the declared file and the adapters it names are shared."""

    shared: Path
    folder: Path
    port: int = field(default_factory=free_port)
    starts: Any = field(default_factory=itertools.count)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, stack: ExitStack) -> Running:
        self.folder.mkdir(exist_ok=True)
        env = OFFLINE | {
            "REDRAFT_ADAPTERS__ROOTS": json.dumps([str(self.shared)]),
            "REDRAFT_ADAPTERS__FOLDER": str(self.folder / "copies"),
            "REDRAFT_ADAPTERS__FILE": str(self.shared / "adapters.yaml"),
            "REDRAFT_ADAPTERS__RECONCILE_S": "0.5",
        }
        log = self.folder / f"{next(self.starts)}.log"
        return stack.enter_context(
            running([str(REDRAFT), "serve", "--port", str(self.port)], health=f"{self.url}/health", log=log, env=env)
        )

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=120, trust_env=False)


def declare(shared: Path, **sources: str) -> None:
    """Replace the file at once, as a deployment would."""
    text = json.dumps({"adapters": {name: {"source": source} for name, source in sources.items()}})
    (shared / "next").write_text(text, encoding="utf-8")
    (shared / "next").replace(shared / "adapters.yaml")


async def settled(client: httpx.AsyncClient, *, unlike: str | None = None, problems: bool = False) -> dict[str, Any]:
    """What readiness says of the adapters, once `cft` is served by another revision than `unlike` and problems are (not) told."""
    while True:
        probe: dict[str, Any] = (await client.get("/health/ready")).json().get("adapters", {})
        served = probe.get("serving", {}).get("cft")
        if served not in {None, unlike} and bool(probe["problems"]) == problems:
            return probe
        await asyncio.sleep(0.3)


async def test_replicas_converge_on_one_file(tmp_path: Path, adapters: dict[str, Path]) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in ("tiny", "other"):
        shutil.copytree(adapters[name], shared / name)
    poisoned(adapters["other"], shared / "nan")
    declare(shared, cft="tiny")
    first, second = Replica(shared, tmp_path / "first"), Replica(shared, tmp_path / "second")
    with ExitStack() as stack, ExitStack() as killed:
        _, doomed = await asyncio.gather(asyncio.to_thread(first.start, stack), asyncio.to_thread(second.start, killed))
        async with first.client() as one, second.client() as two:
            before = (await settled(one))["serving"]["cft"]
            assert (await settled(two))["serving"]["cft"] == before
            _, likely = await ask(one, "cft", PROMPTS[0])
            assert distance(likely, (await ask(two, "cft", PROMPTS[0]))[1]) < 0.4

            doomed.signal(signal.SIGKILL)
            killed.close()
            declare(shared, cft="other")
            now = (await settled(one, unlike=before))["serving"]["cft"]
            await asyncio.to_thread(second.start, stack)
            assert (await settled(two, unlike=before))["serving"]["cft"] == now
            for client in (one, two):
                revision, likely = await ask(client, "cft", PROMPTS[0])
                assert revision == now

            declare(shared, cft="nan")
            for client in (one, two):
                probe = await settled(client, problems=True)
                assert not probe["converged"]
                assert [problem["adapter"] for problem in probe["problems"]] == ["cft"]
                assert (await ask(client, "cft", PROMPTS[0]))[0] == now
