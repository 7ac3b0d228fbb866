"""The `fit` stage: a configuration in, an adapter's (or a model's) folder out. Checkpoints and resumption are the library's.

Everything that can be refused is refused before the model is loaded.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from trainer.adapters import artifact
from trainer.config import FitConfig, Method
from trainer.fitting import rewards, warm_start
from trainer.fitting.activation import begins_at, invocation_tokens
from trainer.fitting.base import base_dtype, base_folder, load_renderer
from trainer.fitting.build import Job, build, settle
from trainer.fitting.checkpoints import claim_work, last_checkpoint
from trainer.fitting.examples import render_all
from trainer.origin import origin

LIBRARIES = ("torch", "transformers", "peft", "trl")
CURVES = ("step", "learning_rate", "kl", "entropy", "num_tokens")
CURVE_FAMILIES = ("loss", "reward", "grader", "completions/mean_length", "completions/clipped_ratio")
"""What of the log is kept in the manifest: these names, and those that hold one of these."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """An adapter or a model that is there. `fresh` is False where an earlier run had already made it."""

    path: Path
    manifest: dict[str, Any]
    fresh: bool


def fit(config: FitConfig, console: Console) -> Fitted:
    """Train what `config` asks for, going on from this run's last checkpoint if there is one."""
    config = settle(config)
    identity = origin(config, base_folder(config.model))
    done = artifact.existing(config.output, identity["run_sha256"])
    if done is not None:
        return Fitted(config.output, done, fresh=False)
    if config.method is Method.RFT and config.rft.warm_start is not None and config.lora is not None:
        warm_start.check(config.rft.warm_start, config.lora, identity["base"])
    job = prepare(config, console)
    claim_work(job.work, identity["run_sha256"])
    staged, metrics = _train(job, console)
    manifest = artifact.write(
        staged,
        config.output,
        {
            "name": config.output.name,
            "method": config.method.value,
            **identity,
            "examples": len(job.train.kept),
            "dropped_rows": list(job.train.dropped),
            "trained_tokens": job.train.trained_tokens,
            "config": config.model_dump(mode="json"),
            "metrics": metrics,
            "libraries": {name: version(name) for name in LIBRARIES},
        },
    )
    if not config.keep_checkpoints:
        shutil.rmtree(job.work)
    return Fitted(config.output, manifest, fresh=True)


def prepare(config: FitConfig, console: Console) -> Job:
    """Read and render all rows: whatever is wrong with the data is found here."""
    folder = base_folder(config.model)
    renderer = load_renderer(folder)
    train = render_all(config.data, config, renderer, console)
    evaluation = render_all(config.eval_data, config, renderer, console)
    invocation = None
    if config.lora is not None and config.lora.alora_invocation is not None:
        invocation = invocation_tokens(config.lora.alora_invocation, renderer)
        for example in (*train.kept, *evaluation.kept):
            begins_at(example, invocation)
    if config.method is Method.RFT:
        rewards.check_rows(config.rft, (*train.kept, *evaluation.kept))
    return Job(
        config=config,
        folder=folder,
        renderer=renderer,
        train=train,
        evaluation=evaluation,
        work=config.output.with_name(config.output.name + ".work"),
        invocation=invocation,
    )


def _train(job: Job, console: Console) -> tuple[Path, dict[str, Any]]:
    trainer = build(job, console)
    checkpoint = last_checkpoint(job.work)
    if checkpoint is not None:
        console.print(f"going on from {checkpoint.name}")
    started = time.monotonic()
    outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    metrics: dict[str, Any] = {
        "steps": outcome.global_step,
        "train_loss": _mean_loss(trainer.state.log_history),
        "seconds_since_start": time.monotonic() - started,
    }
    if job.evaluation.kept:
        metrics["eval_loss"] = _eval_loss(trainer)
    if job.config.method is Method.RFT:
        metrics |= _last_rewards(trainer.state.log_history)
    metrics["history"] = [_losses(entry) for entry in trainer.state.log_history]
    return _stage(job, trainer.model), metrics


def _stage(job: Job, model: Any) -> Path:
    """Save what was trained, checked, beside the checkpoints."""
    staged = job.work / "trained"
    if staged.exists():
        shutil.rmtree(staged)
    if job.config.lora is not None:
        model.save_pretrained(staged, safe_serialization=True, save_embedding_layers=False)
        artifact.check_weights(staged / artifact.WEIGHTS)
        return staged
    model.config.use_cache = True
    model.to(base_dtype(job.folder)).save_pretrained(staged, safe_serialization=True)
    job.renderer.tokenizer.save_pretrained(staged)
    for weights in staged.glob("*.safetensors"):
        artifact.check_finite(weights)
    return staged


def _mean_loss(history: list[dict[str, Any]]) -> float:
    """Over all steps. The library's own figure counts only those since the last start."""
    total, before = 0.0, 0
    for entry in history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - before)
            before = entry["step"]
    return total / max(1, before)


def _eval_loss(trainer: Any) -> float:
    """The loss on the evaluation rows at the end; not computed again where the last step has just done so."""
    last: dict[str, Any] = next((entry for entry in reversed(trainer.state.log_history) if "eval_loss" in entry), {})
    loss: float = last["eval_loss"] if last.get("step") == trainer.state.global_step else trainer.evaluate()["eval_loss"]
    return loss


def _last_rewards(history: list[dict[str, Any]]) -> dict[str, float]:
    """The rewards of the last log entries that have them."""
    named = ("reward", "eval_reward")
    return {name: entry[name] for entry in history for name in named if entry.get(name) is not None}


def _losses(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key in CURVES or any(part in key for part in CURVE_FAMILIES)}
