"""How busy loops keep their engine: generated tokens a second inside loops, against vLLM's offline `LLM.chat` on the same calls.

    python -m benchmarks.loop_engine [--rounds 3] [--problems 64] [--loops 16] [--drafts 5] [--tokens 128] [--model DIR]

In each round --loops clients solve --problems problems through `/solve`: drafts, critiques by the base model (`critique: always`) and
revisions, each waiting for what it needs. `LLM.chat` then gets all calls of that round at once, with the prompts that they had and
exactly the lengths that they came to; not the calls of one token in which a verdict is read. Both engines are up with the same flags, the
idle one stopped (SIGSTOP). Reported: the ratio of the two rates, where the loops' is of all tokens that the engine counted, those of calls
that were cut off too; and the CPU time per generated token of the server's own process, in which vLLM's front end and our loop run, the
engine's not included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from benchmarks.eval_efficiency import engine_flags
from benchmarks.offline_chat import Ask, OfflineChat
from benchmarks.report import hardware, save
from benchmarks.side_by_side import Served, both
from benchmarks.turns import turn_of
from evalsuite import tasks
from redraft import home, prompts
from redraft.types import Stage

TASK = "redraft-arith-hard"
ENGINE = "VLLM::"
"""How the titles of the engine's own processes begin."""


@dataclass(frozen=True)
class Call:
    """One call to the engine: its prompt, and what it wrote."""

    chat: tuple[Any, ...]
    text: str


@dataclass(frozen=True)
class Round:
    loops_tokens_per_s: float
    offline_tokens_per_s: float
    calls: int
    tokens: int
    front_ms_a_token: float

    @property
    def ratio(self) -> float:
        return self.loops_tokens_per_s / self.offline_tokens_per_s


def calls_of(problem: str, solution: dict[str, Any]) -> list[Call]:
    """All calls of one loop, from its transcript."""
    solve = prompts.solve_messages(problem)
    entries = solution["transcript"]
    written = {entry["index"]: entry["content"] for entry in entries if entry["stage"] != Stage.CRITIQUE}
    judged = {entry["draft"]: entry["content"] for entry in entries if entry["stage"] == Stage.CRITIQUE}
    found = []
    for entry in entries:
        match entry["stage"]:
            case Stage.SOLVE:
                chat: Sequence[Any] = solve
            case Stage.CRITIQUE:
                chat = prompts.critique_messages(problem, written[entry["draft"]])
            case _:
                chat = prompts.revise_messages(solve, written[entry["parent"]], judged[entry["parent"]])
        found.append(Call(tuple(chat), entry["content"]))
    return found


async def solve_all(url: str, problems: Sequence[str], loops: int, loop: dict[str, Any]) -> list[dict[str, Any]]:
    queue = list(enumerate(problems))
    found: list[dict[str, Any]] = [{} for _ in problems]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(3600), connector=aiohttp.TCPConnector(limit=0)) as client:

        async def work() -> None:
            while queue:
                place, problem = queue.pop(0)
                async with client.post(f"{url}/solve", json={"problem": problem, "loop": {**loop, "seed": place}}) as reply:
                    if reply.status != 200:
                        raise RuntimeError(f"HTTP {reply.status}: {(await reply.text())[:300]}")
                    found[place] = await reply.json()

        await asyncio.gather(*(work() for _ in range(loops)))
    return found


def front_s(pid: int) -> float:
    """CPU seconds so far of the server's processes that are not the engine's."""
    top = psutil.Process(pid)
    ours = [one for one in (top, *top.children(recursive=True)) if not "".join(one.cmdline()).startswith(ENGINE)]
    return sum(sum(one.cpu_times()[:2]) for one in ours)


def one_round(served: Served, offline: OfflineChat, problems: Sequence[str], loops: int, loop: dict[str, Any], tokenizer: Any) -> Round:
    with turn_of(served.process):
        pid = served.process.process.pid
        generated, busy, started = served.generated(), front_s(pid), time.perf_counter()
        solutions = asyncio.run(solve_all(served.url, problems, loops, loop))
        seconds = time.perf_counter() - started
        time.sleep(0.5)  # what was cut off is counted by now
        generated, busy = served.generated() - generated, front_s(pid) - busy
    calls = [call for problem, solution in zip(problems, solutions, strict=True) for call in calls_of(problem, solution)]
    lengths = tuple(max(1, len(tokenizer.encode(call.text, add_special_tokens=False))) for call in calls)
    with turn_of(offline):
        told = offline.chat(Ask(tuple(call.chat for call in calls), lengths))
    return Round(generated / seconds, told.tokens / told.seconds, len(calls), generated, 1000 * busy / generated)


def measure(arguments: argparse.Namespace, stack: ExitStack, work: Path) -> list[Round]:
    from transformers import AutoTokenizer

    engine = {**engine_flags(arguments.seqs), "enable_prefix_caching": True, "max_model_len": 2048}
    offline, served = both(stack, work, arguments.model, engine)
    loop = {"drafts": arguments.drafts, "rounds": 1, "critique": "always", "response_tokens": arguments.tokens, "temperature": 0.8}
    loop |= {"critique_tokens": arguments.tokens}
    tokenizer = AutoTokenizer.from_pretrained(str(arguments.model or home.default_model_dir()))
    rounds = []
    for turn in range(arguments.rounds + 1):
        count = arguments.problems if turn else 2  # the first warms up
        problems = [problem.problem for problem in tasks.load(f"{TASK}@{turn}", limit=count).problems]
        found = one_round(served, offline, problems, arguments.loops, loop, tokenizer)
        if turn:
            rounds.append(found)
            print(f"round {turn}: {json.dumps(asdict(found))}, ratio {found.ratio:.3f}", flush=True)
    return rounds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--problems", type=int, default=64, help="of each round")
    parser.add_argument("--loops", type=int, default=16, help="at once")
    parser.add_argument("--drafts", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128, help="of the longest draft, critique and revision")
    parser.add_argument("--seqs", type=int, default=64, help="sequences that the engine runs at once")
    parser.add_argument("--model", type=Path, help="a local model (default: the embedded one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rounds = measure(arguments, stack, Path(folder))
    ratios = [one.ratio for one in rounds]
    found = {
        **{name: getattr(arguments, name) for name in ("problems", "loops", "drafts", "tokens", "seqs")},
        "model": arguments.model.name if arguments.model else home.DEFAULT_MODEL,
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "front_ms_a_token": statistics.median(one.front_ms_a_token for one in rounds),
        "runs": [asdict(one) for one in rounds],
        "hardware": hardware(),
    }
    save("loop_engine", found)
    print(json.dumps({name: value for name, value in found.items() if name != "runs"}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
