"""How busy an evaluation keeps its engine: `evalsuite run` over a server against vLLM's own offline `LLM.chat`, beside lm-eval.

    python -m benchmarks.eval_efficiency [--rounds 4] [--problems 128] [--tokens 64] [--model PATH] [--lm-eval PATH]

All three get the same chats and the same sampling: greedy, exactly --tokens tokens a reply. `redraft serve` and the offline engine have the
same flags and are both up; whoever is not measured is stopped (SIGSTOP), and the order rotates. A rate is the generated tokens (for the
served ones counted by the server) over the time from the first request to the last reply; for the whole command, start-up and grading
included, see `command_s`. Reported: the ratio to `LLM.chat` of the same round, median and range.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import lm_eval_peer
from benchmarks.offline_chat import Ask, OfflineChat
from benchmarks.peers import CannotRun
from benchmarks.report import hardware, save
from benchmarks.side_by_side import Served, both
from benchmarks.turns import turn_of
from evalsuite import tasks
from evalsuite.store import RESULTS, SUMMARY
from redraft import prompts, records

EVALSUITE = Path(sys.executable).with_name("evalsuite")
TASK = "redraft-arith"
WARM_TOKENS = 8
WANTED = 0.95


@dataclass(frozen=True)
class Run:
    tokens: int
    seconds: float
    command_s: float | None = None

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True)
class Setting:
    """What is the same for all contenders."""

    chats: tuple[tuple[Any, ...], ...]
    problems: Path
    tokens: int
    concurrency: int
    work: Path


def engine_flags(seqs: int) -> dict[str, Any]:
    """The same engine in both: no LoRA, no prefix cache (the prompts repeat from round to round)."""
    return {"max_num_seqs": seqs, "max_num_batched_tokens": 4096, "enable_prefix_caching": False, "enable_lora": False}


def with_offline(engine: OfflineChat, setting: Setting, tokens: int) -> Run:
    with turn_of(engine):
        told = engine.chat(Ask(setting.chats, tokens))
    return Run(told.tokens, told.seconds)


def served_run(served: Served, measure: Callable[[], tuple[float, float]]) -> Run:
    """`measure` gives the seconds from first request to last reply, and those of the whole command."""
    with turn_of(served.process):
        before = served.generated()
        seconds, command_s = measure()
        return Run(served.generated() - before, seconds, command_s)


def with_evalsuite(served: Served, setting: Setting, tokens: int) -> Run:
    def measure() -> tuple[float, float]:
        out = Path(tempfile.mkdtemp(dir=setting.work))
        line = [str(EVALSUITE), "run", "--task", str(setting.problems), "--base-url", served.url, "--out", str(out), "--json"]
        line += ["--max-tokens", str(tokens), "--temperature", "0", "--extra-body", '{"ignore_eos": true}']
        started = time.perf_counter()
        done = subprocess.run([*line, "--concurrency", str(setting.concurrency)], capture_output=True, text=True, check=False)
        command_s = time.perf_counter() - started
        if done.returncode or not (out / SUMMARY).is_file():
            raise RuntimeError(f"evalsuite ended with code {done.returncode}: {done.stderr[-2000:]}")
        times = [record["timing"] for _, record in records.read(out / RESULTS) if record["kind"] == "sample"]
        begun = min(one["started_at"] for one in times)
        return max(one["started_at"] + one["latency_s"] for one in times) - begun, command_s

    return served_run(served, measure)


def with_lm_eval(command: Path, served: Served, setting: Setting, tokens: int) -> Run:
    def measure() -> tuple[float, float]:
        lm_eval_peer.write_task(setting.work, setting.problems, tokens)
        span = lm_eval_peer.run(
            command, setting.work, url=served.url, model=served.model(), system=prompts.SOLVE_SYSTEM, concurrency=setting.concurrency
        )
        return span.requests_s, span.command_s

    return served_run(served, measure)


Contender = Callable[[int], Run]


def rotate(contenders: dict[str, Contender], rounds: int, tokens: int) -> dict[str, list[Run]]:
    """Every contender once a round, another one first each time."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(contenders[name](tokens))
        print(f"round {turn + 1}: " + ", ".join(f"{name} {of[-1].tokens_per_s:.0f} tok/s" for name, of in runs.items()), flush=True)
    return runs


def spread(ours: list[Run], base: list[Run]) -> dict[str, float]:
    ratios = [a.tokens_per_s / b.tokens_per_s for a, b in zip(ours, base, strict=True)]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def make_problems(path: Path, count: int) -> tuple[tuple[Any, ...], ...]:
    """Write the problems for those who read a file; give the chats for the one who does not."""
    problems = tasks.load(TASK, limit=count).problems
    rows = (json.dumps({"id": p.id, "problem": p.problem, "answer": p.answer}) for p in problems)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tuple(prompts.solve_messages(p.problem) for p in problems)


def measure(arguments: argparse.Namespace, stack: ExitStack, work: Path) -> tuple[dict[str, list[Run]], str | None]:
    """The runs of each contender, and why lm-eval is none of them."""
    chats = make_problems(work / "problems.jsonl", arguments.problems)
    setting = Setting(chats, work / "problems.jsonl", arguments.tokens, arguments.concurrency or 2 * arguments.seqs, work)
    offline, served = both(stack, work, arguments.model, engine_flags(arguments.seqs))
    contenders: dict[str, Contender] = {
        "LLM.chat": lambda tokens: with_offline(offline, setting, tokens),
        "evalsuite": lambda tokens: with_evalsuite(served, setting, tokens),
    }
    for contender in contenders.values():
        contender(WARM_TOKENS)
    reason = None
    try:
        peer = lm_eval_peer.LM_EVAL.executable(arguments.lm_eval)
        with_lm_eval(peer, served, setting, WARM_TOKENS)
        contenders["lm-eval"] = lambda tokens: with_lm_eval(peer, served, setting, tokens)
    except CannotRun as error:
        reason = str(error)
        print(f"lm-eval cannot run: {reason}", flush=True)
    return rotate(contenders, arguments.rounds, arguments.tokens), reason


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--problems", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=64, help="of every reply")
    parser.add_argument("--seqs", type=int, default=64, help="sequences that the engine runs at once")
    parser.add_argument("--concurrency", type=int, help="requests in flight (default: twice --seqs)")
    parser.add_argument("--model", type=Path, help="a local model (default: the embedded one)")
    parser.add_argument("--lm-eval", type=Path, help="its command (default: a virtual environment made for it)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        runs, reason = measure(arguments, stack, Path(folder))
    expected = arguments.problems * arguments.tokens
    odd = [f"{name}: {run.tokens}" for name, of in runs.items() for run in of if run.tokens != expected]
    found = {
        **{name: getattr(arguments, name) for name in ("problems", "tokens", "seqs")},
        "concurrency": arguments.concurrency or 2 * arguments.seqs,
        "lm_eval": {"version": lm_eval_peer.LM_EVAL.version, "cannot_run": reason},
        "ratio_to_llm_chat": {name: spread(of, runs["LLM.chat"]) for name, of in runs.items() if name != "LLM.chat"},
        "other_token_counts": odd,
        "runs": {name: [{**vars(run), "tokens_per_s": run.tokens_per_s} for run in of] for name, of in runs.items()},
        "hardware": hardware(),
    }
    save("eval_efficiency", found)
    print(json.dumps({name: value for name, value in found.items() if name != "runs"}, indent=2))
    ours = statistics.median(a.tokens_per_s / b.tokens_per_s for a, b in zip(runs["evalsuite"], runs["LLM.chat"], strict=True))
    return 0 if ours >= WANTED and not odd else 1


if __name__ == "__main__":
    sys.exit(main())
