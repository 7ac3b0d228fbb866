"""What a swap costs, and whether anybody notices: swaps of one alias under load, and the same with vLLM's own load_lora_adapter.

    python -m benchmarks.adapter_swap [--swaps 200] [--clients 16] [--adapters 20] [--peer-swaps 12]

Both servers are up in one run, the idle one stopped (SIGSTOP). On ours a swap is `POST /adapters`; on vLLM's it is
`load_lora_adapter` with `load_inplace`, the only way to change what one name answers. Each client asks again and again for a few greedy
tokens after a prompt longer than a block of the KV cache; the swaps go round --adapters adapters. Counted: requests that failed; the
server's memory (proportional set size of all its processes) and its series in `/metrics` as the swaps go by; and answers whose first
token's probabilities are nearer to another adapter (or to the base model) than to what was asked for. Ours says in `model` which revision
answered; vLLM's answers may be of any adapter that was loaded from when the request was sent until it ended.
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
import psutil

from benchmarks.random_adapters import make_adapters
from benchmarks.report import hardware, save
from benchmarks.servers import REDRAFT, VLLM_MODULE, Running, free_port, running
from benchmarks.turns import turn_of
from redraft import home
from server.config import ServeSettings
from server.engine.entry import command_line

ALIAS = "cft"
STORY = " ".join(f"On day {n} the traveller walked {n * 3} miles and wrote it down." for n in range(1, 12))
PROMPTS = tuple(f"{STORY} {end}" for end in ("The capital of France is", "Two and two are", "Water boils at"))
LOOKS = 5
"""How often memory and series are looked at: before the first swap, after the last, and evenly between."""
Likely = dict[str, float]


def distance(a: Likely, b: Likely) -> float:
    """The largest difference among the three likeliest tokens of `a`; one that `b` does not report is far away."""
    return max(abs(a[token] - b.get(token, -20.0)) for token in sorted(a, key=lambda token: -a[token])[:3])


@dataclass
class Answer:
    prompt: str
    model: str
    """What the reply says answered."""
    meanwhile: frozenset[int]
    """The adapters that were loaded while it was under way."""
    likely: Likely


@dataclass
class Seen:
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    swaps_s: list[float] = field(default_factory=list)
    looks: list[dict[str, float]] = field(default_factory=list)
    quiet_looks: list[dict[str, float]] = field(default_factory=list)
    """The same about as many swaps more, while nobody asks: traffic fills the KV cache, whose memory is taken as it is first used."""
    seconds: float = 0.0


class Side:
    """One server under test."""

    def __init__(self, name: str, url: str, adapters: Sequence[Path], pid: int) -> None:
        self.name, self.url, self.adapters, self.pid = name, url, adapters, pid
        self.loads: list[int] = []
        """The adapter that each swap named, from when it was asked for: a request may meet it before the swap has answered."""
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
        self.loads.append(number)
        if self.name == "redraft":
            request = client.post(f"{self.url}/adapters", json={"name": ALIAS, "source": source})
        else:
            body = {"lora_name": ALIAS, "lora_path": source, "load_inplace": True}
            request = client.post(f"{self.url}/v1/load_lora_adapter", json=body)
        async with request as reply:
            if reply.status not in {200, 201}:
                raise RuntimeError(f"HTTP {reply.status}: {(await reply.text())[:200]}")
            revision: str = (await reply.json())["revision"] if self.name == "redraft" else ALIAS
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

    async def look(self, client: aiohttp.ClientSession, swaps: int) -> dict[str, float]:
        """What the server holds after so many swaps: MiB of its processes together, and lines of `/metrics` that are samples."""
        async with client.get(f"{self.url}/metrics") as reply:
            lines = (await reply.text()).splitlines()
        series = sum(bool(line) and not line.startswith("#") for line in lines)
        top = psutil.Process(self.pid)
        held = sum(process.memory_full_info().pss for process in (top, *top.children(recursive=True)))
        return {"swaps": swaps, "mib": round(held / 2**20, 1), "series": series}

    def is_right(self, answer: Answer) -> bool:
        apart = {number: distance(self.alone[number, answer.prompt], answer.likely) for number in (-1, *range(len(self.adapters)))}
        nearest = min(apart, key=lambda number: apart[number])
        if self.name == "redraft":
            return nearest == self.revisions.index(answer.model)
        return nearest in answer.meanwhile


async def load(side: Side, swaps: int, clients: int) -> Seen:
    seen, over = Seen(), asyncio.Event()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(120), connector=aiohttp.TCPConnector(limit=0)) as client:
        await side.learn(client)

        async def one(prompts: Iterator[str]) -> None:
            while not over.is_set():
                # with the last swap, which may not be over, and what it replaces
                prompt, before = next(prompts), max(0, len(side.loads) - 2)
                try:
                    model, likely = await side.ask(client, ALIAS, prompt)
                except (RuntimeError, aiohttp.ClientError, TimeoutError) as error:
                    seen.failures.append(f"{type(error).__name__}: {error}"[:200])
                    await asyncio.sleep(0.1)
                else:
                    seen.answers.append(Answer(prompt, model, frozenset(side.loads[before:]), likely))

        tasks = [asyncio.create_task(one(itertools.cycle(PROMPTS[k % 3 :] + PROMPTS[: k % 3]))) for k in range(clients)]
        begun = time.perf_counter()
        for number in range(swaps):
            if number % (swaps // (LOOKS - 1) or 1) == 0:
                seen.looks.append(await side.look(client, number))
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
        seen.seconds = time.perf_counter() - begun
        seen.looks.append(await side.look(client, swaps))
        seen.quiet_looks.append(await side.look(client, 0))
        for number in range(swaps):
            await side.swap(client, number % len(side.adapters))
        seen.quiet_looks.append(await side.look(client, swaps))
    return seen


def summary(side: Side, seen: Seen) -> dict[str, Any]:
    ranked = sorted(seen.swaps_s)
    wrong = [answer for answer in seen.answers if not side.is_right(answer)]
    return {
        "swaps": len(ranked),
        "swap_ms": {"p50": 1000 * statistics.median(ranked), "p99": 1000 * ranked[int(0.99 * (len(ranked) - 1))], "max": 1000 * ranked[-1]},
        "requests": len(seen.answers) + len(seen.failures),
        "requests_per_s": len(seen.answers) / seen.seconds,
        "failed": len(seen.failures),
        "failures": seen.failures[:3],
        "answers_of_another_model": len(wrong),
        "held": seen.looks,
        "held_without_traffic": seen.quiet_looks,
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
    parser.add_argument("--adapters", type=int, default=20)
    parser.add_argument("--peer-swaps", type=int, default=12, help="of vLLM's server, which takes its time under load")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"clients": arguments.clients, "adapters": arguments.adapters}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        adapters = make_adapters(home.default_model_dir(), folder, count=arguments.adapters)
        servers = {}
        for name in ("redraft", "vllm"):
            servers[name] = serve(stack, name, folder)
            servers[name][0].signal(signal.SIGSTOP)
        for name, (process, url) in servers.items():
            swaps = arguments.swaps if name == "redraft" else arguments.peer_swaps
            side = Side(name, url, adapters[:swaps], process.process.pid)
            with turn_of(process):
                found[name] = summary(side, asyncio.run(load(side, swaps, arguments.clients)))
            print(name, json.dumps(found[name]), flush=True)
        for process, _ in servers.values():
            process.signal(signal.SIGCONT)
    found["hardware"] = hardware()
    save("adapter_swap", found)


if __name__ == "__main__":
    main()
