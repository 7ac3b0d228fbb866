"""Adapters swapped under load on the real engine: no request fails, every answer is that of the revision it names, also after a restart."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.servers import REDRAFT, free_port, running
from redraft import home
from server.commands.promote import NOT_BETTER
from tests.e2e.conftest import OFFLINE
from tests.e2e.test_lora import distance

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SWAPS = 20
CLIENTS = 4
STORY = " ".join(f"On day {n} the traveller walked {n * 3} miles and wrote it down." for n in range(1, 12))
PROMPTS = (f"{STORY} The capital of France is", f"{STORY} Two and two are", f"{STORY} Water boils at")
"""Longer than a block of the KV cache, so that a stale one would be used."""


@dataclass
class Restartable:
    """A server that can be ended and started again with the same folders and port."""

    stack: ExitStack
    folder: Path
    port: int
    static: Path
    starts: Iterator[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    def start(self) -> None:
        env = OFFLINE | {
            "REDRAFT_ADAPTERS__ROOTS": json.dumps([str(self.inbox)]),
            "REDRAFT_ADAPTERS__FOLDER": str(self.folder / "adapters"),
            "REDRAFT_ADAPTERS__FILE": str(self.inbox / "adapters.yaml"),
            "REDRAFT_ADAPTERS__RECONCILE_S": "0.5",
        }
        command = [str(REDRAFT), "serve", "--port", str(self.port), "--lora-modules", f"static={self.static}"]
        log = self.folder / f"redraft-{next(self.starts)}.log"
        self.stack.enter_context(running(command, health=f"{self.url}/health/ready", log=log, env=env))

    def restart(self) -> None:
        self.stack.close()
        self.start()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=120, trust_env=False)

    def place(self, source: Path, name: str) -> str:
        shutil.copytree(source, self.inbox / name)
        return name


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, adapters: dict[str, Path]) -> Iterator[Restartable]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "inbox").mkdir()
    (folder / "inbox" / "adapters.yaml").write_text("adapters: {}\n", encoding="utf-8")
    with ExitStack() as stack:
        found = Restartable(stack, folder, free_port(), adapters["tiny"], itertools.count())
        found.start()
        yield found


async def ask(client: httpx.AsyncClient, model: str, prompt: str) -> tuple[str, dict[str, float]]:
    """(the model that answered, its first token's likeliest candidates)"""
    body = {"model": model, "prompt": prompt, "max_tokens": 5, "temperature": 0, "logprobs": 10}
    reply = await client.post("/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    return found["model"], found["choices"][0]["logprobs"]["top_logprobs"][0]


async def post(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    reply = await client.post("/adapters", json=body)
    assert reply.status_code == 201, reply.text
    found: dict[str, Any] = reply.json()
    return found


def poisoned(source: Path, to: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, to)
    weights = load_file(to / "adapter_model.safetensors")
    next(iter(weights.values()))[0, 0] = torch.nan
    save_file(weights, to / "adapter_model.safetensors")


async def test_swaps_under_load_mix_nothing_and_drop_nothing(server: Restartable, adapters: dict[str, Path]) -> None:
    sources = [server.place(adapters[name], name) for name in ("tiny", "other")]
    seen: list[tuple[str, str, dict[str, float]]] = []
    chats: Counter[str] = Counter()
    over = asyncio.Event()

    async def completes(client: httpx.AsyncClient, prompts: Iterator[str]) -> None:
        while not over.is_set():
            prompt = next(prompts)
            model, found = await ask(client, "cft", prompt)
            seen.append((model, prompt, found))

    async def streams(client: httpx.AsyncClient) -> None:
        body = {"model": "cft", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 24, "stream": True, "ignore_eos": True}
        while not over.is_set():
            async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
                chunks = [json.loads(line[6:]) async for line in reply.aiter_lines() if line.startswith("data: {")]
            assert not any("error" in chunk for chunk in chunks)
            (model,) = {chunk["model"] for chunk in chunks}
            chats[model] += sum(bool(c["delta"].get("content")) for chunk in chunks for c in chunk["choices"])

    async def solves(client: httpx.AsyncClient) -> None:
        loop = {"drafts": 2, "critique": "always", "response_tokens": 24, "critique_tokens": 16}
        while not over.is_set():
            reply = await client.post("/solve", json={"problem": "3 + 4 = ?", "critic": "cft", "loop": loop})
            assert reply.status_code == 200, reply.text
            assert reply.json()["critic"].startswith("cft@")

    async with server.client() as client:
        revisions = [(await post(client, name="cft", source=source))["revision"] for source in sources]
        alone = {(r, p): (await ask(client, r, p))[1] for r in (home.DEFAULT_MODEL, *revisions) for p in PROMPTS}
        tasks = [asyncio.create_task(completes(client, itertools.cycle(PROMPTS))) for _ in range(CLIENTS)]
        tasks += [asyncio.create_task(streams(client)), asyncio.create_task(solves(client))]
        for number in range(SWAPS):
            body = await post(client, name="cft", source=sources[number % 2])
            assert body["revision"] == revisions[number % 2]
            if number % 8 == 7:  # a third one pushes out what would otherwise only go to and fro
                third = server.place(adapters["tiny"], f"third-{number}")
                config = server.inbox / third / "adapter_config.json"
                changed = json.loads(config.read_text(encoding="utf-8")) | {"lora_alpha": 17 + number}
                config.write_text(json.dumps(changed), encoding="utf-8")
                await post(client, name="cft", source=third)
                shutil.rmtree(server.inbox / third)
            while len(seen) <= number:  # the load keeps pace: no swap goes by unseen
                assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
                await asyncio.sleep(0.02)
        over.set()
        await asyncio.gather(*tasks)
        table = (await client.get("/adapters/cft")).json()
        series = (await client.get("/metrics")).text
    for model, prompt, found in seen:
        apart = {name: distance(alone[name, prompt], found) for name in (home.DEFAULT_MODEL, *revisions)}
        if model in apart:
            assert min(apart, key=lambda name: apart[name]) == model, (model, prompt, apart)
            assert apart[model] < 0.4, (model, apart)
    assert {model for model, _, _ in seen} >= set(revisions)
    assert chats.total()
    assert len(table["revisions"]) <= 3
    assert 'model="cft@' not in series
    assert 'critic="cft@' not in series


async def test_bad_adapters_are_refused_and_the_old_one_serves(server: Restartable, adapters: dict[str, Path]) -> None:
    poisoned(adapters["tiny"], server.inbox / "nan")
    poisoned(adapters["tiny"], server.inbox / "torn")
    with (server.inbox / "torn" / "adapter_model.safetensors").open("r+b") as file:
        file.truncate(5000)
    async with server.client() as client:
        before, _ = await ask(client, "cft", PROMPTS[0])
        for source, check in (("nan", "finite"), ("torn", "format"), ("absent", "containment"), ("../adapters", "containment")):
            for path, body in (("/adapters", {"name": "cft", "source": source}),
                               ("/v1/load_lora_adapter", {"lora_name": "cft", "lora_path": source, "load_inplace": True})):  # fmt: skip
                reply = await client.post(path, json=body)
                assert (reply.status_code, reply.json()["error"]["param"]) == (400, check), reply.text
        shown = (await client.get("/adapters/cft")).json()
        assert (shown["state"], shown["attempt"]["state"], shown["revision"]) == ("serving", "failed", before)
        assert (await ask(client, "cft", PROMPTS[0]))[0] == before


async def test_names_are_listed_pinned_and_refused(server: Restartable) -> None:
    async with server.client() as client:
        shown = (await client.get("/adapters/cft")).json()
        listed = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
        assert listed[:3] == [home.DEFAULT_MODEL, "static", "cft"]
        assert shown["revision"] in listed
        assert "cft:loop" in listed
        assert (await ask(client, shown["revision"], PROMPTS[0]))[0] == shown["revision"]
        assert (await ask(client, "static", PROMPTS[0]))[0] == "static"
        missing = await client.post("/v1/completions", json={"model": "cft@0123456789ab", "prompt": "x"})
        assert missing.status_code == 404
        counted = await client.post("/tokenize", json={"model": "cft", "prompt": "one two"})
        assert counted.status_code == 200, counted.text
        answered = await client.post("/v1/responses", json={"model": "cft", "input": "Count.", "max_output_tokens": 16})
        assert answered.json()["model"] == shown["revision"], answered.text


def emptied(source: Path, to: Path) -> None:
    """An adapter that changes nothing: it answers as the base model does."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, to)
    weights = {name: value * (0 if "lora_B" in name else 1) for name, value in load_file(to / "adapter_model.safetensors").items()}
    save_file(weights, to / "adapter_model.safetensors")


async def test_only_what_is_measurably_better_is_promoted(server: Restartable, adapters: dict[str, Path], tmp_path: Path) -> None:
    """What answers as the base model does takes over from noise, and noise does not take over from it."""
    emptied(adapters["tiny"], server.inbox / "sober")
    server.place(adapters["other"], "noise")
    task = tmp_path / "easy.jsonl"
    rows = [{"id": str(k), "problem": f"What is {k} + 1? Say the number only.", "answer": str(k + 1)} for k in range(2, 22)]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    async def promote(source: str) -> int:
        words = ["promote", "judge", "--task", str(task), "--source", source, "--server", server.url, "--max-tokens", "32"]
        process = await asyncio.create_subprocess_exec(str(REDRAFT), *words, env=OFFLINE)
        return await process.wait()

    async with server.client() as client:
        noise = (await post(client, name="judge", source="noise"))["revision"]
        assert await promote("sober") == 0
        better = (await client.get("/adapters/judge")).json()
        assert better["revision"] != noise
        (record,) = [entry["why"] for entry in better["history"] if entry["action"] == "promote"]
        assert (record["before"], record["candidate"], record["promoted"]) == (noise, better["revision"], True)
        assert record["mcnemar"]["p"] < 0.05
        assert await promote("noise") == NOT_BETTER
        after = (await client.get("/adapters/judge")).json()
        assert (after["revision"], after["canary"]["revision"]) == (better["revision"], noise)
        assert (await client.delete("/adapters/judge")).status_code == 200


async def test_a_restart_serves_the_same_and_the_file_is_followed(server: Restartable) -> None:
    async with server.client() as client:
        before, likely = await ask(client, "cft", PROMPTS[0])
    shutil.rmtree(server.inbox / "tiny")
    server.restart()
    async with server.client() as client:
        after, again = await ask(client, "cft", PROMPTS[0])
        assert after == before
        assert distance(likely, again) < 0.4
        (server.inbox / "adapters.yaml").write_text("adapters: {declared: {source: other}, bad: {source: nan}}\n", encoding="utf-8")
        while True:
            probe = (await client.get("/health/ready")).json()["adapters"]
            if "declared" in probe["serving"] and probe["problems"]:
                break
            await asyncio.sleep(0.2)
        assert not probe["converged"]
        assert [problem["adapter"] for problem in probe["problems"]] == ["bad"]
        assert (await ask(client, "declared", PROMPTS[0]))[0] == probe["serving"]["declared"]
        assert (await client.delete("/adapters/cft")).status_code == 200
        assert (await client.post("/v1/completions", json={"model": "cft", "prompt": "x"})).status_code == 404
