"""Drawing the next word on a CPU: vLLM's own sampler against ours (`server/engine/cpu_sampling.py`), on the same logits, without a model.

    python -m benchmarks.cpu_sampling [--rounds 7] [--words 151936] [--rows 1 16 64]

Logits are normal with a few words far above the rest, as a model's are; temperature is applied already. The two take turns in each round.
Reported: milliseconds for a step of so many sequences, and the ratio of vLLM's to ours, as median and range over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.report import hardware, save
from server.engine.cpu_sampling import sample

SPREAD, LIKELY, AHEAD = 3.0, 8, 20.0
LIMITS: dict[str, tuple[int | None, float | None]] = {
    "all words": (None, None),
    "top_k 20": (20, None),
    "top_p 0.95": (None, 0.95),
    "top_k 20, top_p 0.8": (20, 0.8),
}


def logits_of(rows: int, words: int) -> torch.Tensor:
    logits = torch.randn(rows, words, generator=torch.Generator().manual_seed(0)) * SPREAD
    logits[:, :LIKELY] += AHEAD
    return logits


def stock(sampler: Any, logits: torch.Tensor, k: torch.Tensor | None, p: torch.Tensor | None) -> Callable[[], object]:
    """vLLM changes what it is given: it gets a copy, which is made in its time; so does ours, in parts."""
    return lambda: sampler.forward_cpu(logits.clone(), {}, None if k is None else k.clone(), p)


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--words", type=int, default=151_936)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16, 64])
    arguments = parser.parse_args()
    import vllm._custom_ops  # noqa: F401 - registers the kernels that vLLM samples with
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    sampler = TopKTopPSampler()
    table = []
    for rows in arguments.rows:
        logits, chances = logits_of(rows, arguments.words), torch.rand(rows, dtype=torch.float64)
        for name, (top_k, top_p) in LIMITS.items():
            k = None if top_k is None else torch.full((rows,), top_k, dtype=torch.int32)
            p = None if top_p is None else torch.full((rows,), top_p)
            calls: dict[str, Callable[[], object]] = {"vllm": stock(sampler, logits, k, p), "ours": partial(sample, logits, chances, k, p)}
            for call in calls.values():
                call()
            times: dict[str, list[float]] = {who: [] for who in calls}
            for turn in range(arguments.rounds):
                for who in sorted(calls, reverse=bool(turn % 2)):
                    times[who].append(milliseconds(calls[who]))
            ratios = [a / b for a, b in zip(times["vllm"], times["ours"], strict=True)]
            ratio = {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}
            table.append({"rows": rows, "limits": name, "ms": {who: statistics.median(of) for who, of in times.items()}, "ratio": ratio})
            print(
                f"{rows:4} rows, {name:22} vLLM {table[-1]['ms']['vllm']:8.2f} ms, ours {table[-1]['ms']['ours']:7.2f} ms, "
                f"ratio {ratio['median']:.1f} [{ratio['low']:.1f}, {ratio['high']:.1f}]",
                flush=True,
            )
    save("cpu_sampling", {"rounds": arguments.rounds, "words": arguments.words, "table": table, "hardware": hardware()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
