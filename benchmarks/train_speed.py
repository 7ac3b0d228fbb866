"""`trainer fit` beside TRL's SFTTrainer with its defaults: tokens per second, loss by step, peak memory.

    python -m benchmarks.train_speed [--steps 50] [--repeats 3] [--batch 8] [--model SmolLM2-135M-Instruct] [--work DIR]

All train the same LoRA (r=16, all linear layers) on the same tokens and masks in the same batches, from the same seed, with the same
optimizer settings, each in a process of its own, in turn. TRL keeps its defaults for all that decides speed: precision (autocast to
bfloat16), gradient checkpointing, padding, attention, its fused head. `trl-float32` is the same but for the precision: where ours computes
in float32, the losses are to be compared with it. Speed is that of all steps but the first, in tokens that are no padding. With `--work`
it goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.report import claim, hardware, save
from redraft import home, records
from trainer.config import FitConfig
from trainer.fitting.build import Job

LONGEST, SEED = 384, 0
SIDES = ("redraft", "trl", "trl-float32")


def rows(count: int) -> list[dict[str, str]]:
    """Critiques of sums in several steps, of very different lengths; every second solution has a wrong step."""
    chance, made = random.Random(SEED), []
    for index in range(count):
        terms = [chance.randint(2, 99) for _ in range(chance.randint(3, 11))]
        sums = [sum(terms[: end + 1]) for end in range(len(terms))]
        slip = chance.randrange(1, len(terms)) if index % 2 else len(terms)
        said = [total + 10 * (end >= slip) for end, total in enumerate(sums)]
        solution = [f"{said[at - 1]} + {terms[at]} = {said[at]}." for at in range(1, len(terms))]
        judged = [f"Step {at}: {sums[at - 1]} + {terms[at]} = {sums[at]}, as in the solution." for at in range(1, slip)]
        if slip < len(terms):
            judged.append(f"Step {slip}: {sums[slip - 1]} + {terms[slip]} = {sums[slip]}, not {said[slip]}. Here is the mistake.")
        row = {"problem": f"What is {' + '.join(map(str, terms))}?", "response": "\n".join(solution), "critique": "\n".join(judged)}
        made.append({**row, "conclusion": "wrong" if slip < len(terms) else "right"})
    return made


def settings(model: str, data: Path, output: Path, steps: int, batch: int) -> FitConfig:
    """One job for both; lengths are mixed in a batch, as in TRL's order."""
    return FitConfig.model_validate(
        {
            "method": "cft",
            "model": model,
            "data": [data],
            "output": output,
            "lora": {"rank": 16, "alpha": 32},
            "optim": {"learning_rate": 2e-4, "max_steps": steps, "batch_size": batch},
            "max_length": LONGEST,
            "overlong": "drop",
            "group_by_length": False,
            "seed": SEED,
            "log_steps": 1,
            "save_steps": 10**6,
        }
    )


def measure(side: str, config: FitConfig) -> dict[str, Any]:
    """Train in this process: seconds, tokens and loss of every step, and the peak of memory."""
    from transformers import TrainerCallback

    from trainer.fitting import build, fit, loops

    quiet = Console(file=sys.stderr)
    job = fit.prepare(build.settle(config), quiet)
    lengths = [len(example) for example in job.train.kept]
    size = config.optim.batch_size
    order = list(loops.Buckets(lengths, size, SEED, by_length=False))
    trainer = build.build(job, quiet) if side == "redraft" else trl_trainer(job, order, {"bf16": False} if side == "trl-float32" else {})
    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seconds.append(-time.perf_counter())

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seconds[-1] += time.perf_counter()

    trainer.add_callback(Clock())
    trainer.train()
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    return {
        "seconds": seconds,
        "tokens": [sum(lengths[index] for index in batch) for batch in batches[: len(seconds)]],
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def trl_trainer(job: Job, order: list[int], precision: dict[str, bool]) -> Any:
    """TRL's trainer as it comes, on rows that are tokenized already and lie in the order that ours takes."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from trainer.fitting import build

    optim = job.config.optim
    arguments = SFTConfig(
        output_dir=str(job.work),
        per_device_train_batch_size=optim.batch_size,
        max_steps=optim.max_steps,
        learning_rate=optim.learning_rate,
        lr_scheduler_type=optim.schedule,
        warmup_steps=optim.warmup,
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        seed=job.config.seed,
        **precision,
    )
    kept = [job.train.kept[index] for index in order]
    data = Dataset.from_list([{"input_ids": example.input_ids, "labels": example.labels} for example in kept])
    return SFTTrainer(
        model=str(job.folder), args=arguments, train_dataset=data, processing_class=job.renderer.tokenizer, peft_config=build.lora(job)
    )


def in_a_process(side: str, given: argparse.Namespace, data: Path, repeat: int) -> dict[str, Any]:
    result = data.with_name(f"{side}-{repeat}.json")
    if result.is_file():
        had: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return had
    job = {"side": side, "model": given.model, "steps": given.steps, "batch": given.batch, "data": data, "result": result}
    command = [sys.executable, "-m", "benchmarks.train_speed", *(f"--{name}={value}" for name, value in job.items())]
    env = {**os.environ, "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def speed(found: dict[str, Any]) -> float:
    return sum(found["tokens"][1:]) / sum(found["seconds"][1:])


def compare(runs: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Figures of all repeats; ratios are taken within each of them."""
    return {
        "ratio": {side: _ratio(runs, side) for side in SIDES[1:]},
        "loss_difference": {side: _apart(runs[0]["redraft"]["losses"], runs[0][side]["losses"]) for side in SIDES[1:]},
        "loss_difference_of_trls_precisions": _apart(runs[0]["trl"]["losses"], runs[0]["trl-float32"]["losses"]),
        "tokens_per_second": {side: [round(speed(run[side]), 1) for run in runs] for side in SIDES},
        "peak_gb": {side: round(max(run[side]["peak_gb"] for run in runs), 2) for side in SIDES},
        "losses": {side: runs[0][side]["losses"] for side in SIDES},
    }


def _ratio(runs: list[dict[str, dict[str, Any]]], side: str) -> dict[str, float]:
    ratios = [speed(run["redraft"]) / speed(run[side]) for run in runs]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def _apart(some: list[float], others: list[float]) -> dict[str, float]:
    apart = [abs(one - other) for one, other in zip(some, others, strict=True)]
    return {"largest": max(apart), "mean": statistics.mean(apart)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--model", default=home.DEFAULT_MODEL)
    parser.add_argument("--work", type=Path, help="what was measured lies here; the same command goes on")
    for name in ("--side", "--data", "--result"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        data = Path(given.data)
        found = measure(given.side, settings(given.model, data, data.parent / "adapter", given.steps, given.batch))
        records.write_atomic(Path(given.result), json.dumps(found))
        return
    runs: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory(prefix="redraft-speed-") as temporary:
        work = given.work or Path(temporary)
        claim(work, {"model": Path(given.model).name, "steps": given.steps, "batch": given.batch, "machine": hardware()})
        data = work / "rows.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows(2 * given.batch * (given.steps + 2))), encoding="utf-8")
        for repeat in range(given.repeats):
            sides = SIDES if repeat % 2 == 0 else SIDES[::-1]
            runs.append({side: in_a_process(side, given, data, repeat) for side in sides})
            print(f"repeat {repeat + 1}: " + ", ".join(f"{side} {speed(runs[-1][side]):.0f} tokens/s" for side in SIDES), flush=True)
    result = {
        "model": Path(given.model).name,
        "steps": given.steps,
        "batch": given.batch,
        "longest": LONGEST,
        **compare(runs),
        "hardware": hardware(),
    }
    save("train_speed", result)
    print(json.dumps({name: value for name, value in result.items() if name != "losses"}, indent=2))


if __name__ == "__main__":
    main()
