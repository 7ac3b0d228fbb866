"""The library's trainers, with what they lack: batches checked for the end token, an order that resumes exactly, no work for nothing.

Imports torch and TRL at once: import this module only where training begins.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from trl import DPOTrainer, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from trainer.fitting import flat
from trainer.fitting.render import IGNORED

BUCKET = 32
"""Batches that are sorted by length together."""


class Buckets(Sampler[int]):
    """A seeded order of examples in which neighbours have like lengths. It depends on seed and epoch alone: a run resumes in it."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, *, by_length: bool) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.by_length = by_length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        chance = random.Random(f"{self.seed}:{self.epoch}")
        order = list(range(len(self.lengths)))
        chance.shuffle(order)
        return iter(self._bucketed(order, chance) if self.by_length else order)

    def _bucketed(self, order: list[int], chance: random.Random) -> list[int]:
        size = self.batch_size * BUCKET
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            bucket = sorted(order[start : start + size], key=self.lengths.__getitem__)
            batches += [bucket[at : at + self.batch_size] for at in range(0, len(bucket), self.batch_size)]
        short = [batch for batch in batches if len(batch) < self.batch_size]
        full = [batch for batch in batches if len(batch) == self.batch_size]
        chance.shuffle(full)
        return [index for batch in (*full, *short) for index in batch]


def check_ends(labels: torch.Tensor, end_ids: frozenset[int]) -> None:
    """Every row of a batch must train something, and last of all an end token. Where padding is the end token, masks often lose it."""
    for row in labels:
        trained = row[row != IGNORED]
        if not len(trained):
            raise ValueError("a row of the batch trains nothing: the loss mask is empty")
        if int(trained[-1]) not in end_ids:
            raise ValueError(
                f"a row of the batch does not train its end token: its last label is {int(trained[-1])}, expected one of {sorted(end_ids)}"
            )


@dataclass
class CheckedCollator(DataCollatorForLanguageModeling):
    end_ids: frozenset[int] = frozenset()

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        check_ends(batch["labels"], self.end_ids)
        return batch


@dataclass
class FlatCollator:
    end_ids: frozenset[int]

    def __call__(self, examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        for example in examples:
            check_ends(torch.tensor([example["labels"]]), self.end_ids)
        return flat.flatten(examples)


@dataclass
class CheckedPreferences(DataCollatorForPreference):
    end_ids: frozenset[int] = frozenset()

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        check_ends(batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED), self.end_ids)
        return batch


class Completions(SFTTrainer):
    """SFTTrainer over rendered examples. On a CPU, where TRL scores every position, the head is applied to completions only."""

    def __init__(self, *, order: Buckets, **given: Any) -> None:
        self.order = order
        super().__init__(**given)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Buckets:
        return self.order

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The adapter's own card is written with its manifest."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        if inputs["labels"].device.type != "cpu" or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs = {**inputs, "use_cache": False}
        targets = inputs.pop("labels")[:, 1:]
        if "lengths" in inputs:
            inputs["lengths"] = inputs["lengths"].tolist()
        places = (targets != IGNORED).any(dim=0).nonzero().flatten()
        targets = targets[:, places]
        logits = model(**inputs, logits_to_keep=places).logits.float()
        trained = targets != IGNORED
        if not trained.all():
            logits, targets = logits[trained], targets[trained]
        logits, targets = logits.flatten(0, -2), targets.flatten()
        total = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        self._count(sum(inputs["lengths"]) if "lengths" in inputs else int(inputs["attention_mask"].sum()), logits, targets)
        return total / (len(targets) if num_items_in_batch is None else num_items_in_batch)

    def _count(self, tokens: int, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """The figures that SFTTrainer logs beside the loss."""
        mode = "train" if self.model.training else "eval"
        hits = (logits.detach().argmax(dim=-1) == targets).float().mean().item()
        self._metrics[mode]["mean_token_accuracy"].append(hits)
        if mode == "train":
            self._total_train_tokens += tokens
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]


class Preferences(DPOTrainer):
    """DPOTrainer over rendered examples: they are tokenized already, as they will be served."""

    def __init__(self, *, order: Buckets, **given: Any) -> None:
        self.order = order
        super().__init__(**given)

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Buckets:
        return self.order

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The adapter's own card is written with its manifest."""
