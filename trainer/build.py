"""The library's trainer for a job: model, adapter, arguments. Imports the heavy libraries, when called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from trainer.config import FitConfig, Method
from trainer.examples import Examples
from trainer.render import Renderer


@dataclass(frozen=True, slots=True)
class Job:
    """All that a training run needs."""

    config: FitConfig
    folder: Path
    """The base model's files."""
    renderer: Renderer
    train: Examples
    evaluation: Examples
    work: Path
    """Where checkpoints go."""


def resolve_dtype(config: FitConfig) -> FitConfig:
    """The configuration with `dtype: auto` settled for this machine."""
    if config.dtype != "auto":
        return config
    import torch

    fast = torch.cuda.is_available() or torch.cpu._is_amx_tile_supported()
    return config.model_copy(update={"dtype": "bfloat16" if fast else "float32"})


def build(job: Job, console: Console) -> Any:
    """A `transformers.Trainer`, ready to train `job`."""
    import datasets
    import torch
    import transformers

    from trainer import loops
    from trainer.progress import Progress

    config = job.config
    transformers.utils.logging.disable_progress_bar()
    transformers.set_seed(config.seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(job.folder, dtype=getattr(torch, config.dtype), attn_implementation="sdpa")
    model.config.use_cache = False
    preferences = config.method is Method.DPO
    as_rows = _preference_rows if preferences else _completion_rows
    collator = loops.CheckedPreferences if preferences else loops.CheckedCollator
    lengths = [len(example) for example in job.train.kept]
    trainer = (loops.Preferences if preferences else loops.Completions)(
        order=loops.Buckets(lengths, config.optim.batch_size * config.optim.accumulate, config.seed, by_length=config.group_by_length),
        model=model,
        args=_arguments(job, cuda=torch.cuda.is_available()),
        data_collator=collator(pad_token_id=job.renderer.tokenizer.pad_token_id, end_ids=job.renderer.end_ids),
        train_dataset=datasets.Dataset.from_list(as_rows(job.train)),
        eval_dataset=datasets.Dataset.from_list(as_rows(job.evaluation)) if job.evaluation.kept else None,
        processing_class=job.renderer.tokenizer,
        peft_config=_lora(config),
        callbacks=[Progress(console)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _lora(config: FitConfig) -> Any:
    from peft import LoraConfig

    lora = config.lora
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        use_rslora=lora.rslora,
        use_dora=lora.dora,
    )


def _completion_rows(examples: Examples) -> list[dict[str, list[int]]]:
    return [{"input_ids": example.input_ids, "labels": example.labels} for example in examples.kept]


def _preference_rows(examples: Examples) -> list[dict[str, list[int]]]:
    return [
        {"prompt_ids": list(example.prompt), "chosen_ids": list(example.completion), "rejected_ids": list(example.rejected or ())}
        for example in examples.kept
    ]


def _arguments(job: Job, *, cuda: bool) -> Any:
    from trl import DPOConfig, SFTConfig

    config, optim = job.config, job.config.optim
    common = {
        "output_dir": str(job.work),
        "per_device_train_batch_size": optim.batch_size,
        "per_device_eval_batch_size": optim.batch_size,
        "gradient_accumulation_steps": optim.accumulate,
        "learning_rate": optim.learning_rate,
        "lr_scheduler_type": optim.schedule,
        "warmup_steps": optim.warmup,
        "weight_decay": optim.weight_decay,
        "max_grad_norm": optim.max_grad_norm,
        "num_train_epochs": optim.epochs,
        "max_steps": optim.max_steps or -1,
        "logging_steps": config.log_steps,
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "eval_strategy": "steps" if job.evaluation.kept else "no",
        "eval_steps": config.eval_steps,
        "seed": config.seed,
        "bf16": cuda and config.dtype == "bfloat16",
        "gradient_checkpointing": config.gradient_checkpointing,
        "dataloader_pin_memory": cuda,
        "report_to": list(config.report_to) or "none",
        "disable_tqdm": True,
        "max_length": None,
    }
    if config.method is Method.DPO:
        return DPOConfig(**common, beta=config.dpo.beta)
    return SFTConfig(**common, dataset_kwargs={"skip_prepare_dataset": True}, packing=False)
