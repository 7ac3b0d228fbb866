"""Wall-clock of a loop's five drafts against five calls one after the other, on the same server, problems and sampling.

    python -m benchmarks.parallel_drafts [--problems 6]

`loop` is `/solve` without critique: one request for five drafts, cancelled as soon as the vote is settled. `sequential` is what a
client without it does: five chat calls. Each problem is measured both ways, in alternating order. Reported: the ratio of wall-clock
times (sequential / loop), its range over problems, and the tokens of both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.report import hardware, save
from benchmarks.servers import REDRAFT, free_port, running
from redraft import home, prompts

DRAFTS = 5
TOKENS = 64
PROBLEM = (
    "A shop sells pens at {price} dollars each. Ann buys {count} pens and pays with a {note} dollar note. How much change does she get?"
)


def loop_call(client: httpx.Client, problem: str, seed: int) -> tuple[float, int]:
    loop = {"drafts": DRAFTS, "rounds": 0, "response_tokens": TOKENS, "temperature": 0.7, "seed": seed}
    started = time.perf_counter()
    body = client.post("/solve", json={"problem": problem, "loop": loop}).raise_for_status().json()
    return time.perf_counter() - started, body["usage"]["completion_tokens"]


def sequential_calls(client: httpx.Client, problem: str, seed: int) -> tuple[float, int]:
    ask: dict[str, Any] = {"model": home.DEFAULT_MODEL, "messages": list(prompts.solve_messages(problem)), "max_tokens": TOKENS}
    started, tokens = time.perf_counter(), 0
    for k in range(DRAFTS):
        body = client.post("/v1/chat/completions", json={**ask, "temperature": 0.7, "seed": seed + k}).raise_for_status().json()
        tokens += body["usage"]["completion_tokens"]
    return time.perf_counter() - started, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=6)
    count = parser.parse_args().problems
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    rows: list[dict[str, float]] = []
    with (
        tempfile.TemporaryDirectory() as logs,
        running([str(REDRAFT), "serve", "--port", str(port)], health=f"{url}/health/ready", log=Path(logs, "serve.log")),
        httpx.Client(base_url=url, timeout=600, trust_env=False) as client,
    ):
        loop_call(client, "What is 1 + 1?", 0)
        for k in range(count):
            problem = PROBLEM.format(price=2 + k, count=3 + k % 4, note=100)
            ways = {"loop": loop_call, "sequential": sequential_calls}
            found = {name: ways[name](client, problem, 100 * k) for name in sorted(ways, reverse=bool(k % 2))}
            rows.append(
                {f"{name}_{unit}": value for name, pair in found.items() for unit, value in zip(("s", "tokens"), pair, strict=True)}
            )
            print(f"problem {k + 1}: sequential {found['sequential'][0]:.1f} s, loop {found['loop'][0]:.1f} s", flush=True)
    ratios = [row["sequential_s"] / row["loop_s"] for row in rows]
    result = {
        "drafts": DRAFTS,
        "speedup": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "tokens": {name: sum(row[f"{name}_tokens"] for row in rows) for name in ("sequential", "loop")},
        "problems": rows,
        "hardware": hardware(),
    }
    save("parallel_drafts", result)
    print(json.dumps({k: v for k, v in result.items() if k != "problems"}, indent=2))


if __name__ == "__main__":
    main()
