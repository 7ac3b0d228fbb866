"""What a swap costs, and whether anybody notices: 200 swaps of one alias under load, and the same with vLLM's own load_lora_adapter.

    python -m benchmarks.adapter_swap [--swaps 200] [--clients 16]

Both servers are up in one run, the idle one stopped (SIGSTOP). On ours a swap is `PUT /adapters/cft`; on vLLM's it is
`load_lora_adapter` with `load_inplace`, the only way to change what one name answers. Each client asks again and again for a few greedy
tokens after a prompt longer than a block of the KV cache. Counted: requests that failed, and answers whose first token's probabilities
are nearer to another adapter (or to the base model) than to what was asked for. Ours says in `model` which revision answered; vLLM's
answers are held to the adapter that was loaded when the request was sent or when it ended, whichever is nearer.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.random_adapters import make_adapters
from benchmarks.report import hardware, save
from benchmarks.servers import REDRAFT, VLLM_MODULE, Running, free_port, running
from redraft import home
from server.config import ServeSettings
from server.engine.entry import command_line

ALIAS = "cft"
STORY = " ".join(f"On day {n} the traveller walked {n * 3} miles and wrote it down." for n in range(1, 12))
PROMPTS = tuple(f"{STORY} {end}" for end in ("The capital of France is", "Two and two are", "Water boils at"))
Likely = dict[str, float]


def distance(a: Likely, b: Likely) -> float:
    """The largest difference among the three likeliest tokens of `a`; one that `b` does not report is far away."""
    return max(abs(a[token] - b.get(token, -20.0)) for token in sorted(a, key=lambda token: -a[token])[:3])


@dataclass
class Answer:
    prompt: str
    model: str
    """What the reply says answered."""
    around: tuple[int, int]
    """Index of the adapter that was loaded when the request was sent, and when it ended."""
    likely: Likely


@dataclass
class Seen:
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    swaps_s: list[float] = field(default_factory=list)


class Side:
    """One server under test."""

    def __init__(self, name: str, url: str, adapters: Sequence[Path]) -> None:
        self.name, self.url, self.adapters = name, url, adapters
        self.now = 0
        self.alone: dict[tuple[int, str], Likely] = {}
        self.revisions: list[str] = []

    async def ask(self, client: aiohttp.ClientSession, model: str, prompt: str) -> tuple[str, Likely]:
        body = {"model": model, "prompt": prompt, "max_tokens": 4, "temperature": 0, "logprobs": 10}
        async with client.post(f"{self.url}/v1/completions", json=body) as reply:
            if reply.status != 200:
                raise RuntimeError(f"HTTP {reply.status}: {(await reply.text())[:200]}")
            found = await reply.json()
        return found["model"], found["choices"][0]["logprobs"]["top_logprobs"][0]

    async def swap(self, client: aiohttp.ClientSession, number: int) -> str:
        """Have the alias answer with the adapter `number` -> the name of what answers now."""
        source = str(self.adapters[number])
        if self.name == "redraft":
            request = client.post(f"{self.url}/adapters", json={"name": ALIAS, "source": source})
        else:
            body = {"lora_name": ALIAS, "lora_path": source, "load_inplace": True}
            request = client.post(f"{self.url}/v1/load_lora_adapter", json=body)
        async with request as reply:
            if reply.status not in {200, 201}:
                raise RuntimeError(f"HTTP {reply.status}: {(await reply.text())[:200]}")
            revision: str = (await reply.json())["revision"] if self.name == "redraft" else ALIAS
        self.now = number
        return revision

    async def learn(self, client: aiohttp.ClientSession) -> None:
        """What each adapter, and the base model (-1), says when it is alone; each under a name of its own, so that no cache is shared."""
        for number in range(len(self.adapters)):
            self.revisions.append(await self.swap(client, number))
            name = ALIAS
            if self.name == "vllm":
                name = f"alone-{number}"
                body = {"lora_name": name, "lora_path": str(self.adapters[number])}
                async with client.post(f"{self.url}/v1/load_lora_adapter", json=body) as reply:
                    reply.raise_for_status()
            for prompt in PROMPTS:
                self.alone[number, prompt] = (await self.ask(client, name, prompt))[1]
        for prompt in PROMPTS:
            self.alone[-1, prompt] = (await self.ask(client, home.DEFAULT_MODEL, prompt))[1]

    def is_right(self, answer: Answer) -> bool:
        apart = {number: distance(self.alone[number, answer.prompt], answer.likely) for number in (-1, *range(len(self.adapters)))}
        nearest = min(apart, key=lambda number: apart[number])
        if self.name == "redraft":
            return nearest == self.revisions.index(answer.model)
        return nearest in answer.around


async def load(side: Side, swaps: int, clients: int) -> Seen:
    seen, over = Seen(), asyncio.Event()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(120), connector=aiohttp.TCPConnector(limit=0)) as client:
        await side.learn(client)

        async def one(prompts: Iterator[str]) -> None:
            while not over.is_set():
                prompt, before = next(prompts), side.now
                try:
                    model, likely = await side.ask(client, ALIAS, prompt)
                except (RuntimeError, aiohttp.ClientError, TimeoutError) as error:
                    seen.failures.append(f"{type(error).__name__}: {error}"[:200])
                    await asyncio.sleep(0.1)
                else:
                    seen.answers.append(Answer(prompt, model, (before, side.now), likely))

        tasks = [asyncio.create_task(one(itertools.cycle(PROMPTS[k % 3 :] + PROMPTS[: k % 3]))) for k in range(clients)]
        for number in range(swaps):
            started = time.perf_counter()
            try:
                await side.swap(client, number % len(side.adapters))
            except (RuntimeError, aiohttp.ClientError, TimeoutError) as error:
                seen.failures.append(f"swap: {type(error).__name__}: {error}"[:200])
                if isinstance(error, aiohttp.ClientConnectorError):
                    break  # the server is gone
            else:
                seen.swaps_s.append(time.perf_counter() - started)
            await asyncio.sleep(0.2)
        over.set()
        await asyncio.gather(*tasks)
    return seen


def summary(side: Side, seen: Seen) -> dict[str, Any]:
    ranked = sorted(seen.swaps_s)
    wrong = [answer for answer in seen.answers if not side.is_right(answer)]
    return {
        "swaps": len(ranked),
        "swap_ms": {"p50": 1000 * statistics.median(ranked), "p99": 1000 * ranked[int(0.99 * (len(ranked) - 1))], "max": 1000 * ranked[-1]},
        "requests": len(seen.answers) + len(seen.failures),
        "failed": len(seen.failures),
        "failures": seen.failures[:3],
        "answers_of_another_model": len(wrong),
    }


def serve(stack: ExitStack, name: str, folder: Path) -> tuple[Running, str]:
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", folder / f"{name}.log"
    if name == "redraft":
        env = {"REDRAFT_ADAPTERS__ROOTS": json.dumps([str(folder)]), "REDRAFT_ADAPTERS__FOLDER": str(folder / "copies")}
        command = [str(REDRAFT), "serve", "--port", str(port)]
    else:
        env = {"VLLM_PLUGINS": "", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        env |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
        same = command_line(ServeSettings(model="default", port=port), home.default_model_dir(), ["--max-cpu-loras", "8"], cpu=True)
        command = [sys.executable, "-m", VLLM_MODULE, *same]
    return stack.enter_context(running(command, health=f"{url}/health", log=log, env=env)), url


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"clients": arguments.clients}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        adapters = make_adapters(home.default_model_dir(), folder)
        servers = {}
        for name in ("redraft", "vllm"):
            servers[name] = serve(stack, name, folder)
            servers[name][0].signal(signal.SIGSTOP)
        for name, (process, url) in servers.items():
            process.signal(signal.SIGCONT)
            side = Side(name, url, adapters)
            found[name] = summary(side, asyncio.run(load(side, arguments.swaps, arguments.clients)))
            process.signal(signal.SIGSTOP)
            print(name, json.dumps(found[name]), flush=True)
        for process, _ in servers.values():
            process.signal(signal.SIGCONT)
    found["hardware"] = hardware()
    save("adapter_swap", found)


if __name__ == "__main__":
    main()
