"""What our server costs a plain chat request: `redraft serve` against vLLM's own server with the same flags, in paired runs.

    python -m benchmarks.serving_overhead [--pairs 50] [--streams 16] [--lora]

Both servers are up at once, the idle one stopped (SIGSTOP), and the order alternates, so that the machine's moods hit both alike.
vLLM's server has our engine plugin and CPU threads too (`benchmarks.cpu_engine` says what those are worth): what differs is our routes.
Each run streams one request of 64 tokens on every stream. Reported: the ratio of generated tokens per second
(ours / vLLM's) and the difference of the median time to first token, each as median and range over the pairs, the
ratio also as geometric mean with its 95 % interval. With --lora both load
the LoRA machinery and no request uses an adapter: then the ratio also shows what our CPU kernels save.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from scipy.stats import t

from benchmarks.report import hardware, save
from benchmarks.servers import REDRAFT, VLLM_MODULE, Running, free_port, running
from benchmarks.turns import turn_of
from redraft import home
from server.config import ServeSettings
from server.engine import machine
from server.engine.entry import command_line

TOKENS = 64
REQUESTS_PER_STREAM = 1


@dataclass(frozen=True)
class Run:
    tokens_per_s: float
    ttft_s: float
    """Median over the run's requests."""


async def one_request(client: aiohttp.ClientSession, url: str, number: int) -> tuple[int, float]:
    """One streamed chat of TOKENS tokens -> (chunks with text, seconds to the first)."""
    body = {
        "model": home.DEFAULT_MODEL,
        "messages": [{"role": "user", "content": f"Problem {number}: tell a story about the number {number}."}],
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "temperature": 0.7,
        "stream": True,
    }
    started, first, chunks = time.perf_counter(), 0.0, 0
    async with client.post(f"{url}/v1/chat/completions", json=body) as reply:
        reply.raise_for_status()
        async for line in reply.content:
            if line.startswith(b"data: {"):
                chunks += 1
                if chunks == 2:  # the first chunk carries the role
                    first = time.perf_counter() - started
    return chunks, first


async def one_run(url: str, streams: int) -> Run:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as client:

        async def one_stream(k: int) -> list[tuple[int, float]]:
            return [await one_request(client, url, k * REQUESTS_PER_STREAM + r) for r in range(REQUESTS_PER_STREAM)]

        started = time.perf_counter()
        done = [r for stream in await asyncio.gather(*map(one_stream, range(streams))) for r in stream]
        seconds = time.perf_counter() - started
    return Run(len(done) * TOKENS / seconds, statistics.median(ttft for _, ttft in done))


def measure(server: Running, url: str, streams: int) -> Run:
    with turn_of(server):
        return asyncio.run(one_run(url, streams))


def mean_ratio(ratios: Sequence[float]) -> dict[str, Any]:
    """The geometric mean of paired ratios and its 95 % interval (Student's t on their logarithms)."""
    logs = [math.log(ratio) for ratio in ratios]
    mean, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    reach = float(t.ppf(0.975, len(logs) - 1)) * error
    return {"mean": math.exp(mean), "mean_95": [math.exp(mean - reach), math.exp(mean + reach)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--lora", action="store_true")
    arguments = parser.parse_args()
    flags = [] if arguments.lora else ["--no-enable-lora"]
    model = home.default_model_dir()
    runs: dict[str, list[Run]] = {"redraft": [], "vllm": []}
    with tempfile.TemporaryDirectory() as logs, ExitStack() as stack:
        ports = {name: free_port() for name in runs}
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        same = command_line(ServeSettings(model="default", port=ports["vllm"]), model, flags, cpu=True)
        commands = {
            "redraft": [str(REDRAFT), "serve", "--port", str(ports["redraft"]), *flags],
            "vllm": [sys.executable, "-m", VLLM_MODULE, *same],
        }
        plain = {"VLLM_PLUGINS": "redraft_engine", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        plain |= machine.environment()
        servers = {}
        for name, command in commands.items():
            env = plain if name == "vllm" else None
            servers[name] = stack.enter_context(running(command, health=f"{urls[name]}/health", log=Path(logs, f"{name}.log"), env=env))
            asyncio.run(one_run(urls[name], arguments.streams))
            servers[name].signal(signal.SIGSTOP)
        for pair in range(arguments.pairs):
            for name in ("redraft", "vllm") if pair % 2 else ("vllm", "redraft"):
                runs[name].append(measure(servers[name], urls[name], arguments.streams))
            ours, theirs = runs["redraft"][-1], runs["vllm"][-1]
            print(
                f"pair {pair + 1}: vllm {theirs.tokens_per_s:.0f} tok/s, TTFT p50 {theirs.ttft_s * 1000:.0f} ms; "
                f"redraft {ours.tokens_per_s:.0f} tok/s, TTFT p50 {ours.ttft_s * 1000:.0f} ms",
                flush=True,
            )
        for server in servers.values():
            server.signal(signal.SIGCONT)
    ratios = [a.tokens_per_s / b.tokens_per_s for a, b in zip(runs["redraft"], runs["vllm"], strict=True)]
    delays = [(a.ttft_s - b.ttft_s) * 1000 for a, b in zip(runs["redraft"], runs["vllm"], strict=True)]
    found = {
        "streams": arguments.streams,
        "lora": arguments.lora,
        "throughput_ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios), **mean_ratio(ratios)},
        "ttft_p50_difference_ms": {"median": statistics.median(delays), "low": min(delays), "high": max(delays)},
        "runs": {name: [vars(run) for run in of] for name, of in runs.items()},
        "hardware": hardware(),
    }
    save("serving_overhead_lora" if arguments.lora else "serving_overhead", found)
    print(json.dumps({k: v for k, v in found.items() if k != "runs"}, indent=2))


if __name__ == "__main__":
    main()
