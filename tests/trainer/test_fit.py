"""Training on a tiny model: the end token, exact resumption, the adapter's folder, and refusals."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file, save_file

from trainer import artifact
from trainer.checkpoints import claim_work, last_checkpoint
from trainer.config import FitConfig
from trainer.errors import BadConfig, BadRow, BadRun, Diverged
from trainer.fit import build, fit, prepare
from trainer.origin import digest, origin
from trainer.preview import preview

from .conftest import cft_rows

Make = Callable[..., FitConfig]


@pytest.fixture
def make(tiny_model: Path, tmp_path: Path, jsonl: Callable[..., Path]) -> Make:
    def config(output: str = "critic", **fields: Any) -> FitConfig:
        path = jsonl(*cft_rows(12), name="cft.jsonl")
        given: dict[str, Any] = {
            "method": "cft",
            "model": str(tiny_model),
            "data": [path],
            "output": tmp_path / output,
            "lora": {"rank": 4, "dropout": 0.1},
            "optim": {"batch_size": 2, "epochs": 2, "learning_rate": 5e-3},
            "max_length": 256,
            "dtype": "float32",
            "log_steps": 1,
            "save_steps": 2,
        }
        return FitConfig.model_validate({**given, **fields})

    return config


def test_fit_leaves_an_adapter_and_nothing_else(make: Make, quiet: Console, tiny_model: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    config = make()
    fitted = fit(config, quiet)
    assert {path.name for path in fitted.path.iterdir()} == {artifact.WEIGHTS, artifact.CONFIG, artifact.MANIFEST, artifact.CARD}
    assert not fitted.path.with_name("critic.work").exists()
    manifest = json.loads((fitted.path / artifact.MANIFEST).read_text())
    losses = [entry["loss"] for entry in manifest["metrics"]["history"] if "loss" in entry]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert manifest["content_sha256"] == digest(manifest["files"])
    assert manifest["base"]["config_sha256"] == origin(config, tiny_model)["base"]["config_sha256"]
    assert all(".lora_" in name for name in load_file(fitted.path / artifact.WEIGHTS))

    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.tensor([[1, 5, 9]])
    before = base(ids).logits
    after = PeftModel.from_pretrained(base, fitted.path)(ids).logits
    assert not torch.allclose(before, after)


class Killed(Exception):
    pass


def train_until(config: FitConfig, step: int, quiet: Console) -> Path:
    """Train `config` and die at `step`, as a kill would have it: what is on the disk stays, nothing is tidied."""
    from transformers import TrainerCallback

    class Kill(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == step:
                raise Killed

    job = prepare(config, quiet)
    claim_work(job.work, origin(config, job.folder)["run_sha256"])
    trainer = build(job, quiet)
    trainer.add_callback(Kill())
    with pytest.raises(Killed):
        trainer.train()
    return job.work


def losses(manifest: dict[str, Any]) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss"]) for entry in manifest["metrics"]["history"] if "loss" in entry]


def test_a_killed_run_resumes_to_the_same_adapter(make: Make, quiet: Console) -> None:
    whole = fit(make("whole"), quiet)
    work = train_until(make("cut"), 11, quiet)
    (work / "checkpoint-10" / "trainer_state.json").write_text('{"cut')
    resumed = fit(make("cut"), quiet)
    assert losses(resumed.manifest) == losses(whole.manifest)
    assert resumed.manifest["metrics"]["train_loss"] == whole.manifest["metrics"]["train_loss"]
    assert resumed.manifest["content_sha256"] == whole.manifest["content_sha256"]
    assert "going on from checkpoint-8" in quiet.file.getvalue()  # type: ignore[attr-defined]


def test_a_checkpoint_that_is_not_whole_is_passed_over(tmp_path: Path) -> None:
    for step in (2, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in ("trainer_state.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", artifact.WEIGHTS):
            (folder / name).write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    (tmp_path / "checkpoint-10" / "optimizer.pt").unlink()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-10").exists()


def test_a_finished_run_is_not_run_again_and_never_overwritten(make: Make, quiet: Console) -> None:
    short = {"batch_size": 4, "max_steps": 1}
    first = fit(make(optim=short), quiet)
    again = fit(make(optim=short, log_steps=3), quiet)
    assert (first.fresh, again.fresh) == (True, False)
    assert again.manifest == first.manifest
    with pytest.raises(BadRun, match="another run"):
        fit(make(optim=short, seed=1), quiet)


def test_another_runs_checkpoints_are_refused(make: Make, quiet: Console) -> None:
    work = train_until(make(), 3, quiet)
    with pytest.raises(BadRun, match="another run"):
        fit(make(seed=1), quiet)
    shutil.rmtree(work)


def test_the_end_token_is_trained_where_pad_is_eos(make: Make, quiet: Console) -> None:
    trainer = build(prepare(make(), quiet), quiet)
    end = trainer.processing_class.eos_token_id
    assert trainer.processing_class.pad_token_id == end
    for batch in trainer.get_train_dataloader():
        for ids, labels, attended in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            last = int(attended.sum()) - 1
            assert int(ids[last]) == int(labels[last]) == end
            assert (labels[last + 1 :] == -100).all()
            assert (labels == end).sum() == 1


def test_the_resolved_dtype_is_recorded(make: Make, quiet: Console) -> None:
    fitted = fit(make(dtype="auto", optim={"batch_size": 4, "max_steps": 1}), quiet)
    assert fitted.manifest["config"]["dtype"] in ("bfloat16", "float32")


def test_a_batch_that_loses_its_end_token_is_refused() -> None:
    import torch

    from trainer.loops import check_ends

    check_ends(torch.tensor([[-100, 7, 2], [5, 2, -100]]), frozenset({2}))
    with pytest.raises(ValueError, match="does not train its end token"):
        check_ends(torch.tensor([[-100, 7, 2], [5, 6, -100]]), frozenset({2}))
    with pytest.raises(ValueError, match="mask is empty"):
        check_ends(torch.tensor([[-100, -100]]), frozenset({2}))


def test_the_loss_over_completions_alone_is_trls_loss(make: Make, quiet: Console) -> None:
    import torch
    from trl import SFTTrainer

    trainer = build(prepare(make(lora={"rank": 4}), quiet), quiet)
    batch = next(iter(trainer.get_train_dataloader()))
    ours = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=torch.tensor(90))
    gradients = torch.autograd.grad(ours, [weight for name, weight in trainer.model.named_parameters() if "lora_B" in name])
    theirs = SFTTrainer.compute_loss(trainer, trainer.model, dict(batch), num_items_in_batch=torch.tensor(90))
    expected = torch.autograd.grad(theirs, [weight for name, weight in trainer.model.named_parameters() if "lora_B" in name])
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients, expected, strict=True))


def test_buckets_are_whole_seeded_and_of_like_lengths() -> None:
    from trainer.loops import Buckets

    lengths = [(37 * index) % 101 for index in range(100)]
    order = Buckets(lengths, 4, seed=3, by_length=True)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    order.set_epoch(0)
    assert list(order) == first != second
    assert sorted(first) == sorted(second) == list(range(100))
    spread = [max(b) - min(b) for b in ([lengths[i] for i in first[at : at + 4]] for at in range(0, 100, 4))]
    assert max(spread) < 15


def test_dpo_prefers_the_chosen(make: Make, quiet: Console, jsonl: Callable[..., Path]) -> None:
    path = jsonl(*({"prompt": f"Say {i}", "chosen": f"It is {i}", "rejected": "No, never"} for i in range(8)), name="pairs.jsonl")
    fitted = fit(make(method="dpo", data=[path], eval_data=[path], optim={"batch_size": 4, "epochs": 4, "learning_rate": 5e-3}), quiet)
    assert fitted.manifest["metrics"]["eval_loss"] < 0.69


def test_a_row_that_is_too_long_is_refused_or_dropped_by_name(make: Make, quiet: Console, tmp_path: Path) -> None:
    with pytest.raises(BadRow, match=r"cft\.jsonl:3: .* over max_length 161"):
        prepare(make(max_length=161), quiet)
    job = prepare(make(max_length=161, overlong="drop"), quiet)
    assert [where.rpartition(":")[2] for where in job.train.dropped] == ["3", "6", "9", "12"]
    assert len(job.train.kept) == 8
    with pytest.raises(BadConfig, match="all 12 rows"):
        prepare(make(max_length=8, overlong="drop"), quiet)


def test_weights_that_diverged_or_cannot_be_served_are_refused(tmp_path: Path) -> None:
    import torch

    path = tmp_path / artifact.WEIGHTS
    save_file({"a.lora_A.weight": torch.tensor([1.0, float("nan")])}, path)
    with pytest.raises(Diverged, match="not finite"):
        artifact.check_weights(path)
    save_file({"lm_head.weight": torch.tensor([1.0])}, path)
    with pytest.raises(BadRun, match="cannot be served"):
        artifact.check_weights(path)


def test_preview_shows_what_is_trained(make: Make) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system="standard")
    preview(make(), console, 1)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[32mConclusion: right [END]" in shown
    assert "\x1b[32mQuestion:" not in shown
    assert "\x1b[1;30;42m<|im_end|>" in shown
    assert "cft.jsonl" in shown
