"""What the CPU engine's memory grows to under traffic of many batch sizes: oneDNN's own cache of matrix products against ours.

    python -m benchmarks.cpu_memory [--rounds 8] [--asks 24] [--seqs 32] [--model DIR]

Every pair of batch size and layer shape has its own compiled product. Two engines with our CPU settings, one with oneDNN's default
capacity, are up at once, one of them stopped (SIGSTOP), and another one goes first in each round. In a round each answers the same
--asks batches through `LLM.chat`: 1 to --seqs chats at a time, with replies of 1 to 48 tokens, and a KV cache that is touched at once.
Reported: resident memory of the engine's processes after each round, and generated tokens per second as ratio, median and range.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.cpu_engine import BASE, TASK, WARM_TOKENS
from benchmarks.offline_chat import Ask, OfflineChat, offline_chat
from benchmarks.report import hardware, save
from benchmarks.turns import turn_of
from evalsuite import tasks
from redraft import home, prompts
from server.engine import machine

CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
STOCK, OURS = "1024, oneDNN's default", f"{machine.KEPT_PRODUCTS}, ours"
LONGEST_REPLY = 48
KV_BLOCKS = 128
"""Of 128 tokens, on CPU: enough for all sequences, and used from the first round on."""


def batches(rounds: int, asks: int, seqs: int) -> list[list[Ask]]:
    """By round what is asked; the same for every engine."""
    choice = random.Random(0)
    chats = [tuple(prompts.solve_messages(problem.problem)) for problem in tasks.load(TASK, limit=8 * seqs).problems]

    def one() -> Ask:
        asked = choice.sample(chats, choice.randint(1, seqs))
        return Ask(tuple(asked), tuple(choice.randint(1, LONGEST_REPLY) for _ in asked))

    return [[one() for _ in range(asks)] for _ in range(rounds)]


def run(engine: OfflineChat, asked: list[Ask]) -> tuple[float, float]:
    """Generated tokens per second, and MiB afterwards."""
    with turn_of(engine):
        told = [engine.chat(ask) for ask in asked]
        return sum(one.tokens for one in told) / sum(one.seconds for one in told), engine.memory() / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--asks", type=int, default=24, help="batches in a round")
    parser.add_argument("--seqs", type=int, default=32, help="sequences at once")
    parser.add_argument("--model", type=Path, help="a local model (default: the embedded one)")
    arguments = parser.parse_args()
    model = str(arguments.model or home.default_model_dir())
    ours = {**BASE, **machine.environment(), "VLLM_PLUGINS": "redraft_engine"}
    flags = {"model": model, "dtype": machine.dtype(model), "enforce_eager": True, "max_model_len": 1024, "max_num_seqs": arguments.seqs}
    asked = batches(arguments.rounds, arguments.asks, arguments.seqs)
    speeds: dict[str, list[float]] = {STOCK: [], OURS: []}
    memory: dict[str, list[float]] = {STOCK: [], OURS: []}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        engines: dict[str, OfflineChat] = {}
        for number, (name, env) in enumerate({STOCK: {**ours, CAPACITY: "1024"}, OURS: ours}.items()):
            settings = {**flags, "enable_prefix_caching": False, "num_gpu_blocks_override": KV_BLOCKS}
            engine = engines[name] = stack.enter_context(offline_chat(settings, Path(folder, f"{number}.log"), env))
            engine.wait()
            run(engine, [Ask(asked[0][0].chats, WARM_TOKENS)])
        for turn, round_ in enumerate(asked):
            for name in list(engines)[:: 1 if turn % 2 else -1]:
                speed, size = run(engines[name], round_)
                speeds[name].append(speed)
                memory[name].append(size)
            told = (f"{name}: {memory[name][-1]:.0f} MiB, {speeds[name][-1]:.0f} tok/s" for name in engines)
            print(f"round {turn + 1}: " + "; ".join(told), flush=True)
    ratios = [a / b for a, b in zip(speeds[OURS], speeds[STOCK], strict=True)]
    ratio = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
    given = {name: getattr(arguments, name) for name in ("rounds", "asks", "seqs")}
    found = {**given, "model": Path(model).name, "dtype": flags["dtype"], "memory_mib": memory, "tokens_per_s": speeds, "ratio": ratio}
    save("cpu_memory", {**found, "hardware": hardware()})
    print(json.dumps({"ratio": ratio}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
