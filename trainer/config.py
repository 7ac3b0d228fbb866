"""The configuration of `trainer fit`: a YAML file, with `key=value` overrides. Knows no library that trains.

Whatever could train but not be served (a rank over the server's, full modules beside the adapter) is refused here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainer.errors import BadConfig

REPORTERS = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
UNSERVABLE = ("lm_head", "embed_tokens", "embed_in", "wte", "wpe", "norm", "layernorm")


class Method(StrEnum):
    CFT = "cft"
    """Critique fine-tuning: learn the critique of a response."""
    SFT = "sft"
    """Supervised fine-tuning: learn a solution or a reply."""
    DPO = "dpo"
    """Direct preference optimisation: prefer the chosen reply over the rejected one."""


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


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Source(Strict):
    """A data file. In YAML a bare path will do."""

    path: Path
    format: Format = Format.AUTO

    @model_validator(mode="before")
    @classmethod
    def _bare_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value


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
    lora: Lora = Lora()
    optim: Optim = Optim()
    dpo: Dpo = Dpo()
    max_length: Annotated[int, Field(ge=8)] = 2048
    """Tokens of prompt and completion. A row that is longer is never cut."""
    overlong: Literal["refuse", "drop"] = "refuse"
    """What to do with a row over `max_length`; dropped rows are counted and named in the manifest."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the frozen base; the adapter's own weights are always float32. `auto` is the faster one: bfloat16 on a GPU and on a CPU with
    AMX, float32 on other CPUs."""
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    seed: Annotated[int, Field(ge=0)] = 0
    save_steps: Annotated[int, Field(ge=1)] = 100
    eval_steps: Annotated[int, Field(ge=1)] = 100
    log_steps: Annotated[int, Field(ge=1)] = 10
    keep_checkpoints: bool = False
    report_to: tuple[str, ...] = ()
    for_serving: bool = True
    """Refuse what vLLM could not load."""
    server_max_rank: Annotated[int, Field(ge=1)] = 64
    """The server's `--max-lora-rank`."""

    @model_validator(mode="after")
    def _servable(self) -> FitConfig:
        if self.lora.modules_to_save:
            raise ValueError(f"lora.modules_to_save: {', '.join(self.lora.modules_to_save)}: an adapter with full modules cannot be served")
        named = () if isinstance(self.lora.targets, str) else self.lora.targets
        if any(target.rsplit(".", 1)[-1] in UNSERVABLE for target in named):
            raise ValueError(
                f"lora.targets: {', '.join(named)}: embeddings, norms and lm_head cannot be served; name linear layers of the blocks"
            )
        if self.for_serving and self.lora.rank > self.server_max_rank:
            raise ValueError(
                f"lora.rank: {self.lora.rank} is over server_max_rank {self.server_max_rank}: the server would refuse the adapter"
            )
        if self.for_serving and self.lora.dora:
            raise ValueError("lora.dora: vLLM does not serve DoRA adapters; set for_serving=false to train one for other uses")
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
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadConfig(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise BadConfig(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise BadConfig(f"{path}: expected a mapping of fields, found {type(raw).__name__}")
    for override in overrides:
        _apply(raw, override)
    try:
        return FitConfig.model_validate(raw)
    except ValidationError as error:
        raise BadConfig(f"{path}: " + "; ".join(_sentences(error))) from error


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise BadConfig(f"{override!r}: expected key=value, for example lora.rank=32")
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise BadConfig(f"{override!r}: {parent!r} has no fields", param=key)
    place[last] = yaml.safe_load(value)


def _sentences(error: ValidationError) -> list[str]:
    found = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        found.append(f"{where}: {message} (found {item['input']!r})" if where else message)
    return found
