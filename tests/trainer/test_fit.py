"""Training on a tiny model: the end token, exact resumption, the adapter's folder, and refusals."""

from __future__ import annotations

import io
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file, save_file

from trainer.adapters import artifact
from trainer.config import FitConfig
from trainer.errors import BadConfig, BadRow, BadRun, Diverged
from trainer.fitting.checkpoints import claim_work, last_checkpoint
from trainer.fitting.fit import build, fit, prepare, settle
from trainer.fitting.preview import preview
from trainer.origin import digest, origin

from .conftest import CFT_ROW, cft_rows
from .dying import dies

Make = Callable[..., FitConfig]


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
    note = (Path(__file__).parents[2] / "docs" / "trainer.md").read_text(encoding="utf-8")
    table = note.partition("`manifest.json`:\n\n")[2].partition("\n\n")[0]
    assert manifest.keys() == {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert manifest["content_sha256"] == digest(manifest["files"])
    assert manifest["base"]["config_sha256"] == origin(config, tiny_model)["base"]["config_sha256"]
    assert all(".lora_" in name for name in load_file(fitted.path / artifact.WEIGHTS))

    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.tensor([[1, 5, 9]])
    before = base(ids).logits
    after = PeftModel.from_pretrained(base, fitted.path)(ids).logits
    assert not torch.allclose(before, after)


def die_at(config: FitConfig, step: int) -> None:
    """Train in a process that kills itself with SIGKILL at the end of a step."""
    from transformers import TrainerCallback

    class Kill(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == step:
                os.kill(os.getpid(), signal.SIGKILL)

    def train() -> None:
        quiet = Console(quiet=True)
        job = prepare(config, quiet)
        claim_work(job.work, origin(config, job.folder)["run_sha256"])
        trainer = build(job, quiet)
        trainer.add_callback(Kill())
        trainer.train()

    dies(train)


def pairs(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"Say {index}", "chosen": f"It is {index}", "rejected": "No, never"} for index in range(count)]


def losses(manifest: dict[str, Any]) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss"]) for entry in manifest["metrics"]["history"] if "loss" in entry]


@pytest.mark.parametrize(
    ("fields", "logged"),
    [
        ({"lora": {"rank": 4, "dropout": 0.1}}, [1, 2, 3, 4, 5, 6]),
        ({"lora": None, "log_steps": 5}, [2, 4, 5, 6]),
        ({"method": "dpo"}, [1, 2, 3, 4, 5, 6]),
    ],
    ids=["lora", "full", "dpo"],
)
def test_a_killed_run_resumes_to_the_same_weights(
    make: Make, quiet: Console, jsonl: Callable[..., Path], one_thread: None, fields: dict[str, Any], logged: list[int]
) -> None:
    rows = pairs(6) if fields.get("method") == "dpo" else cft_rows(6)
    fields = {**fields, "data": [jsonl(*rows)]}
    whole = fit(make("whole", **fields), quiet)
    die_at(make("cut", **fields), 5)
    (whole.path.with_name("cut.work") / "checkpoint-4" / "trainer_state.json").write_text('{"cut')
    resumed = fit(make("cut", **fields), quiet)
    assert losses(resumed.manifest) == losses(whole.manifest)
    assert [step for step, _ in losses(whole.manifest)] == logged
    assert resumed.manifest["metrics"]["train_loss"] == whole.manifest["metrics"]["train_loss"]
    assert resumed.manifest["content_sha256"] == whole.manifest["content_sha256"]
    assert "going on from checkpoint-2" in quiet.file.getvalue()  # type: ignore[attr-defined]


def test_a_run_that_is_shorter_than_its_log_steps_has_its_loss(make: Make, quiet: Console) -> None:
    fitted = fit(make(log_steps=10, optim={"batch_size": 4, "max_steps": 1}), quiet)
    assert losses(fitted.manifest) == [(1, fitted.manifest["metrics"]["train_loss"])]
    assert fitted.manifest["metrics"]["train_loss"] > 1


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


def test_another_runs_checkpoints_are_refused(make: Make, quiet: Console, tiny_model: Path) -> None:
    config = make()
    claim_work(config.output.with_name("critic.work"), origin(config, tiny_model)["run_sha256"])
    with pytest.raises(BadRun, match="another run"):
        fit(make(seed=1), quiet)


@pytest.mark.parametrize("padded", [False, True])
def test_the_end_token_is_trained_where_pad_is_eos(make: Make, quiet: Console, padded: bool) -> None:
    waking = {"alora_invocation": "reply"} if padded else {}
    trainer = build(prepare(make(lora={"rank": 4, **waking}, server_alora=True), quiet), quiet)
    end = trainer.processing_class.eos_token_id
    assert trainer.processing_class.pad_token_id == end
    for batch in trainer.get_train_dataloader():
        if padded:
            sizes = batch["attention_mask"].sum(dim=1).tolist()
            assert all((labels[size:] == -100).all() for labels, size in zip(batch["labels"], sizes, strict=True))
            rows = [(ids[:size], labels[:size]) for ids, labels, size in zip(batch["input_ids"], batch["labels"], sizes, strict=True)]
        else:
            sizes = batch["lengths"].tolist()
            rows = list(zip(batch["input_ids"][0].split(sizes), batch["labels"][0].split(sizes), strict=True))
        assert len(rows) == 2
        for ids, labels in rows:
            assert int(ids[-1]) == int(labels[-1]) == end
            assert (labels == end).sum() == 1


def test_all_weights_are_trained_where_there_is_no_adapter(make: Make, quiet: Console, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    fitted = fit(make(lora=None, optim={"batch_size": 4, "max_steps": 2, "learning_rate": 1e-2}), quiet)
    manifest = json.loads((fitted.path / artifact.MANIFEST).read_text())
    assert manifest["files"].keys() == {path.name for path in fitted.path.iterdir()} - {artifact.MANIFEST, artifact.CARD}
    assert manifest["files"].keys() >= {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"}
    assert all(str(tiny_model) not in path.read_text() for path in fitted.path.glob("*config.json"))
    assert json.loads((fitted.path / "config.json").read_text())["use_cache"] is True
    assert "All weights of" in (fitted.path / artifact.CARD).read_text()
    ids = torch.tensor([[1, 5, 9]])
    base, tuned = (AutoModelForCausalLM.from_pretrained(folder) for folder in (tiny_model, fitted.path))
    assert not torch.allclose(base(ids).logits, tuned(ids).logits)
    assert not torch.equal(base.get_input_embeddings().weight, tuned.get_input_embeddings().weight)
    assert tuned.dtype == base.dtype
    assert AutoTokenizer.from_pretrained(fitted.path).chat_template == AutoTokenizer.from_pretrained(tiny_model).chat_template


def test_an_activated_lora_carries_the_tokens_that_wake_it(make: Make, quiet: Console) -> None:
    config = make(lora={"rank": 4, "alora_invocation": "reply"}, server_alora=True, optim={"batch_size": 4, "max_steps": 2})
    tokenizer = prepare(config, quiet).renderer.tokenizer
    fitted = fit(config, quiet)
    woken = json.loads((fitted.path / artifact.CONFIG).read_text())["alora_invocation_tokens"]
    assert tokenizer.decode(woken) == "<|im_start|>assistant\n"
    weights = load_file(fitted.path / artifact.WEIGHTS)
    assert any(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)


def test_a_prompt_that_does_not_wake_the_adapter_is_refused(make: Make, quiet: Console, jsonl: Callable[..., Path]) -> None:
    with pytest.raises(BadRow, match=r"cft\.jsonl:1: field `prompt`: does not hold lora\.alora_invocation"):
        prepare(make(lora={"alora_invocation": "Judge this:"}, server_alora=True), quiet)
    path = jsonl({**CFT_ROW, "critique": "What is 12 + 30? It is 42."})
    with pytest.raises(BadRow, match=r"rows\.jsonl:1: field `completion`: holds lora\.alora_invocation again"):
        prepare(make(data=[path], lora={"alora_invocation": "What is 12"}, server_alora=True), quiet)


def test_four_bits_need_a_gpu(make: Make, quiet: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BadConfig, match="quantization: nf4: needs an NVIDIA GPU"):
        fit(make().model_copy(update={"quantization": "nf4"}), quiet)


def test_tensorboards_events_outlive_the_checkpoints(make: Make, quiet: Console) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed")
    fitted = fit(make(report_to=["tensorboard"], optim={"batch_size": 4, "max_steps": 3}), quiet)
    events = accumulator.EventAccumulator(str(fitted.path.with_name("critic.tensorboard"))).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [
        (step, pytest.approx(loss, rel=1e-6)) for step, loss in losses(fitted.manifest)
    ]


def test_the_library_starts_the_other_reporters(make: Make, quiet: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr("trainer.config.importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("transformers.trainer.get_reporting_integration_callbacks", lambda names: started.extend(names) or [])
    trainer = build(prepare(make(report_to=["wandb", "mlflow"]), quiet), quiet)
    assert started == ["wandb", "mlflow"]
    assert trainer.args.run_name == "critic"


def test_evaluation_rows_are_measured_while_it_trains(make: Make, quiet: Console, jsonl: Callable[..., Path]) -> None:
    held_out = jsonl(*cft_rows(5), name="held_out.jsonl")
    metrics = fit(make(eval_data=[held_out], eval_steps=1, optim={"batch_size": 4, "max_steps": 2}), quiet).manifest["metrics"]
    measured = [(entry["step"], entry["eval_loss"]) for entry in metrics["history"] if "eval_loss" in entry]
    assert [step for step, _ in measured] == [1, 2]
    assert metrics["eval_loss"] == measured[-1][1] != measured[0][1]


def test_an_adapter_has_the_shape_that_was_asked_for(make: Make, quiet: Console) -> None:
    lora = {"rank": 8, "alpha": 4, "dropout": 0.1, "targets": ["v_proj", "q_proj"], "rslora": True, "dora": True}
    config = make(lora=lora, for_serving=False, optim={"batch_size": 4, "max_steps": 1})
    found = json.loads((fit(config, quiet).path / artifact.CONFIG).read_text())
    assert (found["r"], found["lora_alpha"], found["lora_dropout"], found["target_modules"]) == (8, 4, 0.1, ["q_proj", "v_proj"])
    assert found["use_rslora"]
    assert found["use_dora"]


def test_a_target_that_the_model_has_not_is_named(make: Make, quiet: Console) -> None:
    with pytest.raises(BadConfig, match=r"lora\.targets: v_prj: the model has no module of that name"):
        build(prepare(make(lora={"rank": 4, "targets": ["q_proj", "v_prj"]}), quiet), quiet)


def test_a_model_that_cannot_be_had_is_named(make: Make, quiet: Console, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="model: nobody/nothing: no folder of that name, and it could not be had from the hub"):
        prepare(make(model="nobody/nothing"), quiet)
    with pytest.raises(BadConfig, match=r"holds no \*\.safetensors"):
        fit(make(model=str(tmp_path)), quiet)


def test_the_dtype_is_settled_before_the_run_is_known(make: Make) -> None:
    assert settle(make(dtype="auto")).dtype in ("bfloat16", "float32")
    assert settle(make(dtype="auto", lora=None)).dtype == "float32"


def test_a_batch_that_loses_its_end_token_is_refused() -> None:
    import torch

    from trainer.fitting.loops import check_ends

    check_ends(torch.tensor([[-100, 7, 2], [5, 2, -100]]), frozenset({2}))
    with pytest.raises(ValueError, match="does not train its end token"):
        check_ends(torch.tensor([[-100, 7, 2], [5, 6, -100]]), frozenset({2}))
    with pytest.raises(ValueError, match="mask is empty"):
        check_ends(torch.tensor([[-100, -100]]), frozenset({2}))


def test_buckets_are_whole_seeded_and_of_like_lengths() -> None:
    from trainer.fitting.loops import Buckets

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
    path = jsonl(*pairs(8), name="pairs.jsonl")
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


def test_preview_shows_where_an_activated_lora_acts(make: Make) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system="standard")
    preview(make(lora={"alora_invocation": "reply"}, server_alora=True), console, 1)
    assert "\x1b[36m<|im_start|>assistant\x1b[0m\n\x1b[32mCritique:" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "row", "shown"),
    [
        ("sft", {"problem": "What is 1 + 2?", "solution": "It is 3"}, "\x1b[32mIt is 3"),
        ("dpo", {"prompt": "Say 1", "chosen": "It is 1", "rejected": "Never"}, "\x1b[31mNever"),
        ("rft", {"problem": "What is 1 + 2?", "gold": "3"}, "\x1b[2mWhat is 1 + 2?"),
    ],
)
def test_preview_knows_every_method(make: Make, jsonl: Callable[..., Path], method: str, row: dict[str, str], shown: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system="standard")
    rft = {"graders": [{"type": "math_equal", "name": "right"}], "num_generations": 2, "max_completion_length": 8}
    preview(make(method=method, data=[jsonl(row)], lora={"rank": 4}, rft=rft), console, 1)
    assert shown in console.file.getvalue()  # type: ignore[attr-defined]
