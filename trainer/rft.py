"""Reinforcement fine-tuning's settings: which graders, how many completions, from which adapter. Knows no library that trains.

The model answers each problem several times, graders score the answers, and what scored above its group's mean becomes likelier (GRPO).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from evalsuite.graders import Grader, uses_model

NOT_TRAINING = ("judge_url", "workers", "vllm_server")
"""Fields that may change between a run and its resumption."""


class Rft(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    graders: tuple[Grader, ...] = ()
    """Grader objects (docs/graders.md). The reward is the mean of their scores; for another mix, one `multi` grader."""
    num_generations: Annotated[int, Field(ge=2)] = 8
    """Completions of one problem that are compared with each other."""
    max_completion_length: Annotated[int, Field(ge=1)] = 512
    temperature: Annotated[float, Field(gt=0)] = 1.0
    beta: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the KL divergence from where training began (the warm start, else the base model)."""
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo", "sapo"] = "dapo"
    """How the loss of tokens is summed, as TRL names it."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """By whose standard deviation advantages are divided."""
    mask_truncated: bool = False
    """Completions that were cut off at `max_completion_length` train nothing."""
    warm_start: Path | None = None
    """An adapter that `trainer fit` made (`sft`): training goes on with its weights."""
    on_grader_error: Literal["stop", "skip"] = "stop"
    """`skip`: a completion that could not be graded trains nothing, and is counted in `grader_errors`."""
    workers: Annotated[int, Field(ge=1)] = 8
    """Gradings at the same time."""
    judge_url: str | None = None
    """The OpenAI-compatible server that `score_model` graders ask; its key is read from GRADER_API_KEY."""
    use_vllm: bool = False
    """Completions from `trl vllm-serve` at `vllm_server`, which weights are sent to. Needs GPUs."""
    vllm_server: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Rft:
        names = [grader.name for grader in self.graders]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"graders: {', '.join(sorted(twice))}: expected each name once")
        if any(map(uses_model, self.graders)) and self.judge_url is None:
            raise ValueError("judge_url: a score_model grader needs a server to ask")
        if self.use_vllm and self.vllm_server is None:
            raise ValueError("vllm_server: expected the address of `trl vllm-serve`, since use_vllm is true")
        return self


def misfit(rft: Rft, completions: int, dropout: float, max_length: int) -> str | None:
    """What keeps these settings from being trained: `completions` are those of one step."""
    if not rft.graders:
        return "rft.graders: method rft needs at least one grader"
    if completions % rft.num_generations:
        return (
            f"rft.num_generations: {rft.num_generations} does not divide the {completions} completions of a step "
            "(optim.batch_size x optim.accumulate)"
        )
    if dropout:
        return "lora.dropout: rft samples from the very weights that it trains; expected 0"
    if rft.max_completion_length >= max_length:
        return f"rft.max_completion_length: {rft.max_completion_length} leaves no room for a prompt in max_length {max_length}"
    return None
