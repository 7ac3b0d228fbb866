"""What our CPU defaults are worth: vLLM as it comes, against the same engine on all cores, without polling, and in float32.

    python -m benchmarks.cpu_engine [--rounds 4] [--seqs 32] [--tokens 64] [--model DIR] [--temperature 0.7] [--top-p 0.95]

All engines are up at once, all but one stopped (SIGSTOP), and another one goes first in each round. Each run answers the same chats
with exactly --tokens tokens, greedily unless a --temperature is given, through `LLM.chat`. Reported: generated tokens per second,
prefill included, and the ratio to vLLM as it comes, as median and range over the rounds. With a temperature our sampler counts too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.offline_chat import Ask, OfflineChat, offline_chat
from benchmarks.report import hardware, save
from benchmarks.turns import turn_of
from evalsuite import tasks
from redraft import home, prompts
from server.engine import machine

TASK = "redraft-arith"
WARM_TOKENS = 4
STOCK = "vLLM as it comes"
OURS = "all cores, no polling, this machine's dtype"
BASE = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}


def contenders(model: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Name -> dtype and environment."""
    ours = {**BASE, **machine.environment(), "VLLM_PLUGINS": "redraft_engine"}
    return {
        STOCK: ("bfloat16", {**BASE, "VLLM_PLUGINS": ""}),
        "all cores, no polling, bfloat16": ("bfloat16", ours),
        OURS: (machine.dtype(model), ours),
    }


def run(engine: OfflineChat, ask: Ask) -> float:
    """Generated tokens per second."""
    with turn_of(engine):
        told = engine.chat(ask)
    return told.tokens / told.seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seqs", type=int, default=32, help="sequences at once")
    parser.add_argument("--tokens", type=int, default=64, help="of every reply")
    parser.add_argument("--temperature", type=float, default=0.0, help="above 0 our sampler is part of what is compared")
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--name", default="cpu_engine", help="of the result")
    parser.add_argument("--model", type=Path, help="a local model (default: the embedded one)")
    arguments = parser.parse_args()
    model = str(arguments.model or home.default_model_dir())
    chats = tuple(prompts.solve_messages(p.problem) for p in tasks.load(TASK, limit=arguments.seqs).problems)
    speeds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        engines: dict[str, OfflineChat] = {}
        for number, (name, (dtype, env)) in enumerate(contenders(model).items()):
            flags = {"model": model, "dtype": dtype, "enforce_eager": True, "max_model_len": 2048, "max_num_seqs": arguments.seqs}
            engine = stack.enter_context(offline_chat({**flags, "enable_prefix_caching": False}, Path(folder, f"{number}.log"), env))
            engine.wait()
            run(engine, Ask(chats, WARM_TOKENS))
            engines[name], speeds[name] = engine, []
        names = list(engines)
        for turn in range(arguments.rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                speeds[name].append(
                    run(engines[name], Ask(chats, arguments.tokens, temperature=arguments.temperature, top_p=arguments.top_p))
                )
            print(f"round {turn + 1}: " + ", ".join(f"{name} {of[-1]:.0f} tok/s" for name, of in speeds.items()), flush=True)
    ratios = {name: [a / b for a, b in zip(of, speeds[STOCK], strict=True)] for name, of in speeds.items() if name != STOCK}
    found = {
        **{name: getattr(arguments, name) for name in ("rounds", "seqs", "tokens", "temperature", "top_p")},
        "model": Path(model).name,
        "dtype": machine.dtype(model),
        "tokens_per_s": speeds,
        "ratio_to_stock": {name: {"median": statistics.median(of), "low": min(of), "high": max(of)} for name, of in ratios.items()},
        "hardware": hardware(),
    }
    save(arguments.name, found)
    print(json.dumps(found["ratio_to_stock"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
