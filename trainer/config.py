"""The configuration of `trainer fit`: a YAML file, with `key=value` overrides. Knows no library that trains.

Whatever could train but not be served (a rank over the server's, full modules beside the adapter) is refused here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainer import settings
from trainer.errors import BadConfig
from trainer.rft import Rft, misfit

TENSORBOARD = "tensorboard"
REPORTERS = {TENSORBOARD: "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
UNSERVABLE = ("lm_head", "embed_tokens", "embed_in", "wte", "wpe", "norm", "layernorm")


class Method(StrEnum):
    CFT = "cft"
    """Critique fine-tuning: learn the critique of a response."""
    SFT = "sft"
    """Supervised fine-tuning: learn a solution or a reply."""
    DPO = "dpo"
    """Direct preference optimisation: prefer the chosen reply over the rejected one."""
    RFT = "rft"
    """Reinforcement fine-tuning: sample replies, and make those likelier that graders score above their group's mean."""


class Format(StrEnum):
    AUTO = "auto"
    """By the fields of a file's first row."""
    CFT = "cft"
    SOLUTION = "solution"
    MESSAGES = "messages"
    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    PROMPT_COMPLETION = "prompt_completion"
    PREFERENCE = "preference"
    PROBLEM = "problem"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Source(Strict):
    """Rows to learn. In YAML a bare path, or a bare `hub:...`, will do."""

    path: Path | None = None
    """A .jsonl, .json or .parquet file."""
    hub: str | None = None
    """`hub:OWNER/NAME?revision=SHA&split=train&config=NAME`."""
    dataset: str | None = None
    """An entry of LLaMA-Factory's `dataset_info.json` in `dataset_dir`."""
    dataset_dir: Path = Path("data")
    format: Format = Format.AUTO

    @property
    def name(self) -> str:
        """What it is called where people read it."""
        return self.path.name if self.path else self.dataset or self.hub or ""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        if isinstance(value, str | Path):
            return {"hub" if str(value).startswith("hub:") else "path": value}
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if sum(place is not None for place in (self.path, self.hub, self.dataset)) != 1:
            raise ValueError("expected one of `path`, `hub` and `dataset`")
        return self


class Lora(Strict):
    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """`all-linear`, or the names of the linear modules to adapt."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank)."""
    dora: bool = False
    """Train magnitude and direction apart. vLLM does not serve DoRA: see `for_serving`."""
    alora_invocation: Annotated[str, Field(min_length=1)] | None = None
    """Activated LoRA: the adapter acts from this text in the prompt on, so that all before it shares the base model's KV cache. `reply`
    is the text with which the chat template asks for a reply. See `server_alora`."""
    modules_to_save: tuple[str, ...] = ()
    """Only here to be refused by name: vLLM cannot load full modules from an adapter."""


class Optim(Strict):
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of all steps."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    epochs: Annotated[float, Field(gt=0)] = 1.0
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Ends training earlier (or later) than `epochs` says."""
    batch_size: Annotated[int, Field(ge=1)] = 8
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Batches a step; the loss is normalised by the trained tokens of all of them."""


class Dpo(Strict):
    beta: Annotated[float, Field(gt=0)] = 0.1


class FitConfig(Strict):
    method: Method
    model: str
    """A folder, a hub id, or the name of the default model."""
    data: Annotated[tuple[Source, ...], Field(min_length=1)]
    eval_data: tuple[Source, ...] = ()
    output: Path
    """The adapter's folder. It appears when all is written; checkpoints lie in `OUTPUT.work` until then."""
    lora: Lora | None = Lora()
    """null trains all weights; the output is then a model's folder."""
    quantization: Literal["nf4"] | None = None
    """QLoRA: the frozen base in 4 bits. Needs an NVIDIA GPU and the package bitsandbytes."""
    optim: Optim = Optim()
    dpo: Dpo = Dpo()
    rft: Rft = Rft()
    max_length: Annotated[int, Field(ge=8)] = 2048
    """Tokens of prompt and completion. A row that is longer is never cut."""
    overlong: Literal["refuse", "drop"] = "refuse"
    """What to do with a row over `max_length`; dropped rows are counted and named in the manifest."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the frozen base; the adapter's own weights are always float32. `auto` is the faster one: bfloat16 on a GPU and on a CPU that
    multiplies it in hardware, else float32. Without an adapter it is the dtype of the trained weights, and `auto` is float32."""
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    seed: Annotated[int, Field(ge=0)] = 0
    save_steps: Annotated[int, Field(ge=1)] = 100
    eval_steps: Annotated[int, Field(ge=1)] = 100
    log_steps: Annotated[int, Field(ge=1)] = 10
    keep_checkpoints: bool = False
    report_to: tuple[str, ...] = ()
    """tensorboard (its events lie in `OUTPUT.tensorboard`), wandb, mlflow or trackio, each if its package is installed."""
    for_serving: bool = True
    """Refuse what vLLM could not load."""
    server_max_rank: Annotated[int, Field(ge=1)] = 64
    """The server's `--max-lora-rank`."""
    server_alora: bool = False
    """Whether the server can load activated LoRA."""

    @model_validator(mode="after")
    def _servable(self) -> FitConfig:
        lora = self.lora
        if lora is None:
            return self
        if lora.modules_to_save:
            raise ValueError(f"lora.modules_to_save: {', '.join(lora.modules_to_save)}: an adapter with full modules cannot be served")
        named = () if isinstance(lora.targets, str) else lora.targets
        if any(target.rsplit(".", 1)[-1] in UNSERVABLE for target in named):
            raise ValueError(
                f"lora.targets: {', '.join(named)}: embeddings, norms and lm_head cannot be served; name linear layers of the blocks"
            )
        if self.for_serving and lora.rank > self.server_max_rank:
            raise ValueError(f"lora.rank: {lora.rank} is over server_max_rank {self.server_max_rank}: the server would refuse the adapter")
        if self.for_serving and lora.dora:
            raise ValueError("lora.dora: vLLM does not serve DoRA adapters; set for_serving=false to train one for other uses")
        if self.for_serving and lora.alora_invocation is not None and not self.server_alora:
            raise ValueError(
                "lora.alora_invocation: only a server with activated LoRA loads such an adapter; set server_alora=true where yours has it, "
                "or for_serving=false"
            )
        return self

    @model_validator(mode="after")
    def _combinable(self) -> FitConfig:
        if self.method not in (Method.CFT, Method.SFT) and (self.lora is None or self.lora.alora_invocation is not None):
            raise ValueError(f"lora: {self.method} trains a plain adapter; full fine-tuning and activated LoRA are for cft and sft")
        if self.lora is not None and self.lora.dora and self.lora.alora_invocation is not None:
            raise ValueError("lora.alora_invocation: cannot be combined with lora.dora")
        if self.quantization is not None and self.lora is None:
            raise ValueError("quantization: weights in 4 bits cannot be trained; set lora to train an adapter beside them")
        if self.quantization is not None and importlib.util.find_spec("bitsandbytes") is None:
            raise ValueError(f"quantization: {self.quantization}: the package 'bitsandbytes' is not installed")
        return self

    @model_validator(mode="after")
    def _trains_by_rewards(self) -> FitConfig:
        if self.method is Method.RFT:
            dropout = 0.0 if self.lora is None else self.lora.dropout
            wrong = misfit(self.rft, self.optim.batch_size * self.optim.accumulate, dropout, self.max_length)
            if wrong is not None:
                raise ValueError(wrong)
        return self

    @model_validator(mode="after")
    def _reporters_installed(self) -> FitConfig:
        for name in self.report_to:
            if name not in REPORTERS:
                raise ValueError(f"report_to: {name!r}: expected one of {', '.join(REPORTERS)}")
            if importlib.util.find_spec(REPORTERS[name]) is None:
                raise ValueError(f"report_to: {name}: the package {REPORTERS[name]!r} is not installed")
        return self


def load(path: Path, overrides: Sequence[str] = ()) -> FitConfig:
    """Read a YAML file, apply `a.b=value` overrides (values are YAML too), and check it all."""
    raw = settings.read(path, overrides)
    try:
        return FitConfig.model_validate(raw)
    except ValidationError as error:
        raise BadConfig(f"{path}: " + "; ".join(settings.sentences(error))) from error
