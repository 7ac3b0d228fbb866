"""Our loops against optillm's on the same engine, model, prompts and problems: accuracy, tokens, wall-clock, problems per minute.

    python -m benchmarks.loop_peer [--problems 32] [--clients 1 4 16] [--adapter DIR] [--tokens 320]

One `redraft serve` answers all of them, at a time one: ours as `NAME:loop` with --drafts drafts and no critic (`adaptive`), the same two by
two until the lead's posterior is 85 % (`thrifty`), and with the server's defaults (`loop`); optillm's proxy stands before the same server
and asks it for plain chats. Its own settings stay: samples at temperature 1, five of them for self_consistency, three for bon. Ours draws
at --temperature. Tokens are those that the engine counted, cancelled ones included. Every way answers the same problems with each number of
clients; mars, of some hundred calls a problem, and moa a few of them in the first round. An answer is what our checker reads in the reply;
a proxy's error is a wrong answer and counted.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks import optillm_peer
from benchmarks.peers import CannotRun
from benchmarks.report import hardware, save
from benchmarks.servers import REDRAFT, free_port, running
from benchmarks.side_by_side import engine_tokens
from evalsuite import stats, tasks
from redraft import home, prompts
from trainer.checking import MathChecker, label

FEW = {"mars": 2, "moa": 8}
"""Problems for the approaches that make some hundred calls for each, or whose calls grow with the replies."""


@dataclasses.dataclass(frozen=True)
class Way:
    """One way of answering: where to ask, for which `model`, with what beside the messages."""

    name: str
    url: str
    model: str
    more: dict[str, Any]
    few: int | None = None
    """It answers only so many problems, in the first round."""


@dataclasses.dataclass(frozen=True)
class Reply:
    content: str
    seconds: float
    failed: str | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    way: str
    clients: int
    replies: tuple[Reply, ...]
    right: int
    seconds: float
    prompt_tokens: int
    generated_tokens: int

    def as_json(self) -> dict[str, Any]:
        count, ranked = len(self.replies), sorted(reply.seconds for reply in self.replies)
        interval = stats.wilson(self.right, count)
        return {
            "way": self.way,
            "clients": self.clients,
            "problems": count,
            "accuracy": None if interval is None else dataclasses.asdict(interval),
            "failed": sum(reply.failed is not None for reply in self.replies),
            "failures": sorted({reply.failed for reply in self.replies if reply.failed is not None})[:3],
            "generated_tokens_a_problem": self.generated_tokens / count,
            "prompt_tokens_a_problem": self.prompt_tokens / count,
            "latency_s": {"p50": statistics.median(ranked), "p95": ranked[min(count - 1, int(0.95 * count))]},
            "problems_a_minute": 60 * count / self.seconds,
        }


async def answer(client: aiohttp.ClientSession, way: Way, problem: str, tokens: int) -> Reply:
    body = {"model": way.model, "messages": list(prompts.solve_messages(problem)), "max_tokens": tokens, **way.more}
    started = time.perf_counter()
    async with client.post(f"{way.url}/v1/chat/completions", json=body) as reply:
        text = await reply.text()
        seconds = time.perf_counter() - started
        if reply.status != 200:
            return Reply("", seconds, f"HTTP {reply.status}: {text[:200]}")
    content = json.loads(text)["choices"][0]["message"]["content"] or ""
    return Reply(content, seconds, content[:200] if content.startswith("Error") else None)


async def answers(way: Way, problems: Sequence[tasks.Problem], clients: int, tokens: int) -> list[tuple[tasks.Problem, Reply]]:
    queue = list(reversed(problems))
    found: list[tuple[tasks.Problem, Reply]] = []
    timeout = aiohttp.ClientTimeout(3600)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as client:

        async def work() -> None:
            while queue:
                problem = queue.pop()
                found.append((problem, await answer(client, way, problem.problem, tokens)))

        await asyncio.gather(*(work() for _ in range(clients)))
    return found


def run(way: Way, engine: str, problems: Sequence[tasks.Problem], clients: int, tokens: int) -> Run:
    before, started = engine_tokens(engine), time.perf_counter()
    found = asyncio.run(answers(way, problems, clients, tokens))
    seconds = time.perf_counter() - started
    time.sleep(0.5)  # what was cancelled is counted by now
    spent = {kind: count - before[kind] for kind, count in engine_tokens(engine).items()}
    checker = MathChecker()
    right = sum(label(checker, str(problem.answer), reply.content) == prompts.RIGHT for problem, reply in found)
    return Run(way.name, clients, tuple(reply for _, reply in found), right, seconds, spent["prompt"], spent["generation"])


def our_ways(url: str, model: str, drafts: int, temperature: float) -> list[Way]:
    """`direct` is the plain chat that both are built on."""
    adaptive = {"drafts": drafts, "rounds": 0, "temperature": temperature, "seed": 1}
    thrifty = {**adaptive, "batch": 2, "confidence": 0.85}
    return [
        Way("direct", url, model, {"temperature": 0}),
        Way(f"redraft adaptive, at most {drafts}", url, f"{model}:loop", {"loop": adaptive}),
        Way(f"redraft thrifty, at most {drafts}", url, f"{model}:loop", {"loop": thrifty}),
        Way("redraft loop, defaults", url, f"{model}:loop", {"loop": {"seed": 1}}),
    ]


def peers_ways(url: str, model: str, approaches: Sequence[str]) -> list[Way]:
    return [Way(f"optillm {name}", url, optillm_peer.name_of(name, model), {}, FEW.get(name)) for name in approaches]


def compared(runs: Sequence[dict[str, Any]], ours: str, theirs: str) -> list[dict[str, Any]]:
    """Ours over theirs, for each number of clients."""
    found = []
    for mine in (run for run in runs if run["way"] == ours):
        for other in (run for run in runs if run["way"] == theirs and run["clients"] == mine["clients"]):
            found.append(
                {
                    "clients": mine["clients"],
                    "tokens": mine["generated_tokens_a_problem"] / other["generated_tokens_a_problem"],
                    "latency_p50": mine["latency_s"]["p50"] / other["latency_s"]["p50"],
                    "latency_p95": mine["latency_s"]["p95"] / other["latency_s"]["p95"],
                    "problems_a_minute": mine["problems_a_minute"] / other["problems_a_minute"],
                }
            )
    return found


def name(arguments: argparse.Namespace) -> str:
    """What is asked for: the adapter if there is one, else the model."""
    asked: Path | None = arguments.adapter or arguments.model
    return home.DEFAULT_MODEL if asked is None else asked.name


def measure(arguments: argparse.Namespace, stack: ExitStack, work: Path) -> list[dict[str, Any]]:
    problems = tasks.load(arguments.task, limit=arguments.problems).problems
    port, model = free_port(), name(arguments)
    url = f"http://127.0.0.1:{port}"
    command = [str(REDRAFT), "serve", *([str(arguments.model)] if arguments.model else []), "--port", str(port)]
    command += ["--lora-modules", f"{model}={arguments.adapter}"] if arguments.adapter else ["--no-enable-lora"]
    stack.enter_context(running([*command, "--no-enable-prefix-caching"], health=f"{url}/health/ready", log=work / "serve.log"))
    ways = our_ways(url, model, arguments.drafts, arguments.temperature)
    peer = stack.enter_context(optillm_peer.proxy(arguments.command, url, model, work / "optillm.log"))
    ways += peers_ways(peer, model, arguments.approaches)
    for way in ways:
        if way.few is None:
            run(way, url, problems[:1], 1, 16)
    runs = []
    for turn, clients in enumerate(arguments.clients):
        for way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
            if way.few is None or turn == 0:
                runs.append(run(way, url, problems[: way.few], clients, arguments.tokens).as_json())
                print(json.dumps(runs[-1]), flush=True)
    return runs


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--task", default="redraft-arith", help="a task's name or a file, as in `evalsuite run`")
    parser.add_argument("--tokens", type=int, default=320, help="of the longest response")
    parser.add_argument("--drafts", type=int, default=5)
    parser.add_argument("--temperature", type=float, default=0.7, help="of our drafts; optillm's is 1")
    parser.add_argument("--approaches", nargs="+", default=list(optillm_peer.APPROACHES), choices=optillm_peer.APPROACHES)
    parser.add_argument("--model", type=Path, help="a local model (default: the embedded one)")
    parser.add_argument("--adapter", type=Path, help="a LoRA adapter that all of them ask for, such as the demonstration's solver")
    parser.add_argument("--optillm", type=Path, help="its command (default: a virtual environment made for it)")
    arguments = parser.parse_args()
    try:
        arguments.command = optillm_peer.OPTILLM.executable(arguments.optillm)
    except CannotRun as error:
        print(f"optillm cannot run: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        runs = measure(arguments, stack, Path(folder))
    ours = sorted({run["way"] for run in runs if run["way"].startswith("redraft ")})
    found = {
        **{key: getattr(arguments, key) for key in ("problems", "clients", "tokens", "drafts", "temperature")},
        "task": Path(arguments.task).name,
        "model": name(arguments),
        "optillm": optillm_peer.OPTILLM.version,
        "ours_to_self_consistency": {way: compared(runs, way, "optillm self_consistency") for way in ours},
        "runs": runs,
        "hardware": hardware(),
    }
    save("loop_peer", found)
    print(json.dumps(found["ours_to_self_consistency"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
