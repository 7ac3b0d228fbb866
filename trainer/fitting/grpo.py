"""TRL's GRPO trainer, with what it lacks: prompts as they are served, an order that resumes exactly, a checkpoint read back whole.

Imports torch and TRL at once, and with it vLLM: `trainer.fitting.build` imports it, without vLLM where that is not used.
"""

from __future__ import annotations

from typing import Any

import datasets
import torch
from peft import get_peft_model
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from trainer.errors import BadConfig
from trainer.fitting.build import Job
from trainer.fitting.groups import Groups
from trainer.fitting.rewards import Rewards

POLICY = "default"


class Rollouts(GRPOTrainer):
    """GRPOTrainer over our rows: those to train on, then those to evaluate on."""

    def __init__(self, *, job: Job, **given: Any) -> None:
        self.job = job
        self.rows = (*job.train.kept, *job.evaluation.kept)
        super().__init__(**given)
        if set(self.eos_token_ids) != job.renderer.end_ids:
            raise BadConfig(
                f"model: completions would end at {sorted(self.eos_token_ids)}, a server ends them at {sorted(job.renderer.end_ids)}"
            )

    def _get_train_sampler(self, dataset: Any = None) -> Groups:
        optim, generations = self.job.config.optim, self.num_generations
        per_step = optim.batch_size * optim.accumulate // generations
        return Groups(len(self.job.train.kept), per_step, generations, self.args.steps_per_generation, self.job.config.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Groups:
        return Groups(len(eval_dataset), 1, self.num_generations, 1, None)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """A prompt is the number of its row, whose tokens are those of the served chat already."""
        return [list(self.rows[int(prompt)].prompt) for prompt in prompts], None, {}

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Where TRL keeps a copy of the warm start as reference, the library would read that copy and pass over the trained adapter."""
        (model or self.model).load_adapter(resume_from_checkpoint, POLICY, is_trainable=True)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The adapter's own card is written with its manifest."""


def trainer(job: Job, model: Any, given: GRPOConfig, lora: Any, callbacks: list[Any]) -> Rollouts:
    """A trainer that goes on from the warm start, or from a new adapter."""
    rft = job.config.rft
    if rft.use_vllm and not torch.cuda.is_available():
        raise BadConfig("rft.use_vllm: weights are sent to vLLM between GPUs, and none is seen here", param="rft.use_vllm")
    if rft.warm_start is not None:
        model, lora = get_peft_model(model, lora), None
        model.load_adapter(str(rft.warm_start), POLICY, is_trainable=True)
    items = [row.item or {} for row in (*job.train.kept, *job.evaluation.kept)]
    tokenizer: Any = job.renderer.tokenizer
    rewards = Rewards(rft, items, lambda ids: tokenizer.decode(ids, skip_special_tokens=True), job.renderer.end_ids)
    trained = len(job.train.kept)
    made = Rollouts(
        job=job,
        model=model,
        reward_funcs=[rewards],
        args=given,
        train_dataset=_numbers(range(trained)),
        eval_dataset=_numbers(range(trained, len(items))) if job.evaluation.kept else None,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=callbacks,
    )
    made.remove_callback(PrinterCallback)
    return made


def _numbers(rows: range) -> datasets.Dataset:
    return datasets.Dataset.from_list([{"prompt": str(row)} for row in rows])


def arguments(job: Job, common: dict[str, Any]) -> GRPOConfig:
    """TRL's arguments: those that all methods share, and its own. Completions are used once: a step is one batch of them."""
    rft = job.config.rft
    own: dict[str, Any] = {
        "per_device_eval_batch_size": rft.num_generations,
        "num_generations": rft.num_generations,
        "max_completion_length": rft.max_completion_length,
        "temperature": rft.temperature,
        "beta": rft.beta,
        "loss_type": rft.loss_type,
        "scale_rewards": rft.scale_rewards,
        "mask_truncated_completions": rft.mask_truncated,
        "disable_dropout": True,
    }
    if rft.use_vllm:
        own |= {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": rft.vllm_server}
    return GRPOConfig(**{**common, **own})
