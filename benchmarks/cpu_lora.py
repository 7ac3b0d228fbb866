"""LoRA on vLLM's CPU backend: our kernels against vLLM's own and against no LoRA at all, decode and prefill, one adapter and three.

    python -m benchmarks.cpu_lora [--rounds 3] [--seqs 32] [--tokens 32] [--rank 16] [--model DIR]

Three engines in one run, in the same dtype, all but one stopped (SIGSTOP), another one first in each round: without --enable-lora, with
vLLM's kernels, with ours (which come with our CPU threads: `benchmarks.cpu_engine`). The adapters have random weights on all seven
projections of every block. Decode: --seqs chats, exactly --tokens tokens each, prefill of the short prompts included. Prefill: prompts of
about 1,024 tokens, one token each. Reported: tokens per second, as ratio to the engine without LoRA and to vLLM's kernels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.cpu_engine import BASE, run
from benchmarks.offline_chat import Ask, OfflineChat, offline_chat
from benchmarks.random_adapters import PROJECTIONS, make_adapters
from benchmarks.report import hardware, save
from redraft import home, prompts
from server.engine import machine

WITHOUT, STOCK, OURS = "no LoRA", "vLLM's kernels", "our kernels"
LONG_PROMPTS = 4
SENTENCES = 62
"""Of a long prompt: about 1,024 tokens of the embedded model."""


def engines(model: str, seqs: int, rank: int) -> dict[str, tuple[dict[str, Any], dict[str, str]]]:
    """Name -> flags of the engine and its environment."""
    flags = {"model": model, "dtype": machine.dtype(model), "enforce_eager": True, "max_model_len": 2048, "max_num_seqs": seqs}
    flags["enable_prefix_caching"] = False
    lora = {**flags, "enable_lora": True, "max_loras": 3, "max_lora_rank": rank}
    ours = {**BASE, **machine.environment(), "VLLM_PLUGINS": "redraft_engine"}
    return {WITHOUT: (flags, ours), STOCK: (lora, {**BASE, "VLLM_PLUGINS": ""}), OURS: (lora, ours)}


def asks(seqs: int, tokens: int, adapters: list[Path]) -> dict[str, Ask]:
    """Each load: base model only, one adapter, three adapters and the base model in one batch."""
    short = tuple(prompts.solve_messages(f"What is {n} + {n + 7}?") for n in range(seqs))
    story = " ".join(f"On day {n} the traveller walked {n * 3} miles and wrote it down." for n in range(SENTENCES))
    long = tuple(prompts.solve_messages(f"Traveller {n}. {story}") for n in range(LONG_PROMPTS))
    worn: dict[str, tuple[Path | None, ...]] = {"base": (None,), "one adapter": (adapters[0],), "three adapters": tuple(adapters)}
    decode = {f"decode, {name}": Ask(short, tokens, of) for name, of in worn.items()}
    return decode | {f"prefill, {name}": Ask(long, 1, of) for name, of in worn.items()}


def measure(arguments: argparse.Namespace, model: str, work: Path, stack: ExitStack) -> dict[str, dict[str, list[float]]]:
    """Engine -> load -> generated tokens per second, a figure for each round."""
    adapters = make_adapters(Path(model), work, count=3, rank=arguments.rank, modules=PROJECTIONS)
    loads = asks(arguments.seqs, arguments.tokens, adapters)
    running: dict[str, OfflineChat] = {}
    for number, (name, (flags, env)) in enumerate(engines(model, arguments.seqs, arguments.rank).items()):
        running[name] = stack.enter_context(offline_chat(flags, work / f"{number}.log", env))
        running[name].wait()
        for load, ask in loads.items():
            if name != WITHOUT or load.endswith("base"):
                run(running[name], Ask(ask.chats[:3], 2, ask.adapters))
    speeds: dict[str, dict[str, list[float]]] = {name: {} for name in running}
    names = list(running)
    for turn in range(arguments.rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            for load, ask in loads.items():
                if name != WITHOUT or load.endswith("base"):
                    speeds[name].setdefault(load, []).append(run(running[name], ask))
        print(f"round {turn + 1}: {json.dumps({n: {k: round(v[-1], 1) for k, v in of.items()} for n, of in speeds.items()})}", flush=True)
    return speeds


def ratios(of: list[float], to: list[float]) -> dict[str, float]:
    each = [a / b for a, b in zip(of, to, strict=True)]
    return {"median": statistics.median(each), "low": min(each), "high": max(each)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seqs", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--model", type=Path, help="a local model of Llama's architecture (default: the embedded one)")
    arguments = parser.parse_args()
    model = str(arguments.model or home.default_model_dir())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        speeds = measure(arguments, model, Path(folder), stack)
    ours = speeds[OURS]
    found = {
        **{name: getattr(arguments, name) for name in ("rounds", "seqs", "tokens", "rank")},
        "model": Path(model).name,
        "dtype": machine.dtype(model),
        "tokens_per_s": speeds,
        "ours_to_base_with_lora_on": {load: ratios(of, ours[f"{load.split(',')[0]}, base"]) for load, of in ours.items()},
        "ours_to_no_lora": {load: ratios(of, speeds[WITHOUT][f"{load.split(',')[0]}, base"]) for load, of in ours.items()},
        "ours_to_vllms_kernels": {load: ratios(of, speeds[STOCK][load]) for load, of in ours.items()},
        "hardware": hardware(),
    }
    save("cpu_lora", found)
    print(json.dumps({name: value for name, value in found.items() if name.startswith("ours")}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
