"""The library's trainer for a job: model, adapter, arguments. Imports the heavy libraries, when called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from trainer.config import TENSORBOARD, FitConfig, Method
from trainer.errors import BadConfig
from trainer.fitting.examples import Examples
from trainer.fitting.render import Renderer


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
    invocation: tuple[int, ...] | None = None
    """The tokens that wake an activated LoRA."""


def settle(config: FitConfig) -> FitConfig:
    """The configuration with `dtype: auto` settled for this machine. Refuses what this machine cannot do."""
    import torch

    cuda = torch.cuda.is_available()
    if config.quantization is not None and not cuda:
        raise BadConfig(f"quantization: {config.quantization}: needs an NVIDIA GPU, and none is seen here", param="quantization")
    if config.dtype != "auto":
        return config
    fast = config.lora is not None and (cuda or torch.cpu._is_amx_tile_supported())
    return config.model_copy(update={"dtype": "bfloat16" if fast else "float32"})


def build(job: Job, console: Console) -> Any:
    """A `transformers.Trainer`, ready to train `job`."""
    import torch
    import transformers

    from trainer.fitting import lora_linear, memory

    config, cuda = job.config, torch.cuda.is_available()
    transformers.utils.logging.disable_progress_bar()
    transformers.set_seed(config.seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        job.folder, dtype=getattr(torch, config.dtype), attn_implementation="sdpa", **_quantized(config)
    )
    model.config.use_cache = False
    _check_targets(model, config)
    arguments = _arguments(job, cuda=cuda)
    if config.method is Method.RFT:
        grpo = _grpo(use_vllm=config.rft.use_vllm)
        trainer = grpo.trainer(job, model, arguments, lora(job), _watchers(config, console))
    else:
        trainer = _supervised(job, model, arguments, _watchers(config, console), cuda=cuda)
        trainer.remove_callback(transformers.PrinterCallback)
    if not cuda:
        memory.keep_freed()
        lora_linear.quicken(trainer.model)
    return trainer


def _check_targets(model: Any, config: FitConfig) -> None:
    """Every named target is there: the library is content when one of them is."""
    if config.lora is None or isinstance(config.lora.targets, str):
        return
    names = [f".{name}" for name, _ in model.named_modules()]
    missing = [target for target in config.lora.targets if not any(name.endswith(f".{target}") for name in names)]
    if missing:
        raise BadConfig(f"lora.targets: {', '.join(missing)}: the model has no module of that name", param="lora.targets")


def _supervised(job: Job, model: Any, arguments: Any, watchers: list[Any], *, cuda: bool) -> Any:
    """The trainer of a method that learns from written replies."""
    import datasets

    from trainer.fitting import flat, loops

    config = job.config
    preferences = config.method is Method.DPO
    as_rows = _preference_rows if preferences else _completion_rows
    padding = loops.CheckedPreferences if preferences else loops.CheckedCollator
    collator: Any = padding(pad_token_id=job.renderer.tokenizer.pad_token_id, end_ids=job.renderer.end_ids)
    if not (cuda or preferences or job.invocation) and flat.fits(model.config):
        flat.enable(model)
        collator = loops.FlatCollator(job.renderer.end_ids)
    lengths = [len(example) for example in job.train.kept]
    return (loops.Preferences if preferences else loops.Completions)(
        order=loops.Buckets(lengths, config.optim.batch_size * config.optim.accumulate, config.seed, by_length=config.group_by_length),
        model=model,
        args=arguments,
        data_collator=collator,
        train_dataset=datasets.Dataset.from_list(as_rows(job.train)),
        eval_dataset=datasets.Dataset.from_list(as_rows(job.evaluation)) if job.evaluation.kept else None,
        processing_class=job.renderer.tokenizer,
        peft_config=lora(job),
        callbacks=watchers,
    )


def _watchers(config: FitConfig, console: Console) -> list[Any]:
    """Who is told of each step: the terminal, and TensorBoard in a folder that outlives the checkpoints. The library starts the others."""
    from trainer.fitting.progress import Progress, WholeLog

    watchers: list[Any] = [Progress(console), WholeLog()]
    if TENSORBOARD not in config.report_to:
        return watchers
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    folder = config.output.with_name(f"{config.output.name}.{TENSORBOARD}")
    return [*watchers, TensorBoardCallback(SummaryWriter(log_dir=str(folder)))]


def _grpo(*, use_vllm: bool) -> ModuleType:
    """`trainer.fitting.grpo`. TRL imports all of vLLM with it where vLLM is installed: unless it is used, TRL does not see it."""
    from trl import import_utils

    seen = import_utils.is_vllm_available
    if not use_vllm:
        import_utils.is_vllm_available = lambda min_version=None: False
    try:
        from trainer.fitting import grpo
    finally:
        import_utils.is_vllm_available = seen
    return grpo


def _quantized(config: FitConfig) -> dict[str, Any]:
    """How the base is loaded in 4 bits, if it is."""
    if config.quantization is None:
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, config.dtype),
    )
    return {"quantization_config": how, "device_map": {"": 0}}


def lora(job: Job) -> Any:
    """PEFT's configuration of the adapter; None where all weights are trained."""
    from peft import LoraConfig

    given = job.config.lora
    if given is None:
        return None
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=given.rank,
        lora_alpha=given.alpha,
        lora_dropout=given.dropout,
        target_modules=given.targets if isinstance(given.targets, str) else list(given.targets),
        use_rslora=given.rslora,
        use_dora=given.dora,
        alora_invocation_tokens=None if job.invocation is None else list(job.invocation),
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
        "bf16": cuda and (config.lora is None or config.dtype == "bfloat16"),
        "gradient_checkpointing": config.gradient_checkpointing,
        "dataloader_pin_memory": cuda,
        "report_to": [name for name in config.report_to if name != TENSORBOARD] or "none",
        "run_name": config.output.name,
        "disable_tqdm": True,
    }
    if config.method is Method.RFT:
        return _grpo(use_vllm=config.rft.use_vllm).arguments(job, common)
    if config.method is Method.DPO:
        return DPOConfig(**common, max_length=None, beta=config.dpo.beta)
    return SFTConfig(**common, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, packing=False)
