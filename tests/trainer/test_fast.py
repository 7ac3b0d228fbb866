"""What makes training fast on a CPU changes nothing of what is learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from rich.console import Console
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from trainer.config import FitConfig
from trainer.fitting import flat, lora_linear
from trainer.fitting.build import build
from trainer.fitting.fit import prepare

Make = Callable[..., FitConfig]
SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {**SIZES, "num_key_value_heads": 2}


def shaken(model: Any) -> Any:
    """Equal models wear equal adapters. LoRA's B starts as zeros, under which half of the gradients are zero: here it does not."""
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return model


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


@pytest.mark.parametrize("waking", [None, "reply"], ids=["flat", "padded"])
def test_loss_and_gradients_are_trls(make: Make, quiet: Console, tiny_model: Path, tmp_path: Path, waking: str | None) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    job = prepare(make(lora={"rank": 4, "alora_invocation": waking}, server_alora=True), quiet)
    ours = build(job, quiet)
    batch = next(iter(ours.get_train_dataloader()))
    assert ("attention_mask" in batch) == (waking is not None)
    rows = [job.train.kept[index] for index in list(ours.order)[:2]]
    theirs = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32),
        args=SFTConfig(str(tmp_path / "trl"), bf16=False, gradient_checkpointing=False, report_to="none", use_cpu=True),
        train_dataset=Dataset.from_list([{"input_ids": row.input_ids, "labels": row.labels} for row in rows]),
        processing_class=job.renderer.tokenizer,
        peft_config=LoraConfig(
            r=4, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM", alora_invocation_tokens=job.invocation
        ),
    )
    for trainer in (ours, theirs):
        shaken(trainer.model).train()
    padded = theirs.data_collator([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
    count = torch.tensor(90)
    expected = theirs.compute_loss(theirs.model, padded, num_items_in_batch=count)
    found = ours.compute_loss(ours.model, dict(batch), num_items_in_batch=count)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    right = gradients(theirs.model, expected)
    for name, gradient in gradients(ours.model, found).items():
        torch.testing.assert_close(gradient, right[name], atol=2e-6, rtol=1e-4, msg=name)
    assert any(gradient.abs().max() > 1e-3 for gradient in right.values())


def flat_logits(model: Any, *sequences: list[int]) -> torch.Tensor:
    batch = flat.flatten({"input_ids": ids, "labels": ids} for ids in sequences)
    del batch["labels"]
    return model(**{**batch, "lengths": batch["lengths"].tolist()}, use_cache=False).logits[0].detach()


@pytest.mark.parametrize(
    "model",
    [Qwen2ForCausalLM(Qwen2Config(**GROUPED)), Qwen3ForCausalLM(Qwen3Config(**GROUPED, head_dim=8))],
    ids=lambda model: model.config.model_type,
)
def test_sequences_of_a_flat_batch_do_not_see_each_other(model: PreTrainedModel) -> None:
    alone = model.eval()(torch.tensor([[7, 8, 9, 10]])).logits[0].detach()
    assert flat.fits(model.config)
    flat.enable(model)
    torch.testing.assert_close(flat_logits(model, [1, 2, 3], [7, 8, 9, 10])[3:], alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(flat_logits(model, [1, 2, 3], [7, 8, 9, 10])[3:], flat_logits(model, [4, 5, 6], [7, 8, 9, 10])[3:])


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        (LlamaConfig(**SIZES), True),
        (Qwen2Config(**SIZES), True),
        (Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=8, max_window_layers=1), False),
        (MistralConfig(**SIZES), False),
        (Gemma2Config(**SIZES), False),
    ],
)
def test_only_plain_attention_is_flattened(config: PretrainedConfig, fits: bool) -> None:
    assert flat.fits(config) is fits


def adapted(**how: Any) -> Any:
    torch.manual_seed(0)
    base = Qwen2ForCausalLM(Qwen2Config(**GROUPED))
    return shaken(get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear", **how)))


def test_one_step_layers_are_the_librarys() -> None:
    ids = torch.randint(0, 64, (2, 9), generator=torch.Generator().manual_seed(3))
    theirs, ours = adapted(), adapted()
    assert lora_linear.quicken(ours) == 14
    losses = [model(ids, labels=ids).loss for model in (theirs, ours)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    right = gradients(theirs, losses[0])
    for name, gradient in gradients(ours, losses[1]).items():
        torch.testing.assert_close(gradient, right[name], atol=1e-6, rtol=1e-4, msg=name)
    with theirs.disable_adapter(), ours.disable_adapter():
        assert torch.equal(theirs(ids).logits, ours(ids).logits)


def test_adapters_keep_their_precision_over_a_base_in_bfloat16() -> None:
    ids = torch.randint(0, 64, (2, 9), generator=torch.Generator().manual_seed(3))
    model = adapted()
    model.get_base_model().to(torch.bfloat16)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.float()
    lora_linear.quicken(model)
    found = gradients(model, model(ids, labels=ids).loss)
    assert {gradient.dtype for gradient in found.values()} == {torch.float32}


@pytest.mark.parametrize(
    "how", [{"use_dora": True}, {"lora_dropout": 0.1}, {"alora_invocation_tokens": [5]}], ids=lambda how: next(iter(how))
)
def test_other_layers_are_left_to_the_library(how: dict[str, Any]) -> None:
    assert lora_linear.quicken(adapted(**how)) == 0
