"""Reinforcement fine-tuning on a tiny model: what is sampled, what is rewarded, exact resumption, the warm start, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console
from safetensors.torch import load_file

from evalsuite.graders import GraderFailed, Sample
from redraft.prompts import solve_messages
from trainer.adapters import artifact
from trainer.config import FitConfig
from trainer.errors import BadConfig, BadRow
from trainer.fitting.checkpoints import claim_work
from trainer.fitting.fit import build, fit, prepare
from trainer.origin import origin

Make = Callable[..., FitConfig]
SHORT = {"type": "length", "name": "short", "full": 0, "zero": 64, "unit": "characters"}
RIGHT = {"type": "math_equal", "name": "right"}
SMALL = {"num_generations": 4, "max_completion_length": 6, "graders": [SHORT, RIGHT]}


def rows(count: int) -> list[dict[str, str]]:
    return [{"problem": f"What is {index} + 3?", "gold": str(index + 3)} for index in range(count)]


@pytest.fixture
def make(tiny_model: Path, tmp_path: Path, jsonl: Callable[..., Path]) -> Make:
    def config(output: str = "solver", **fields: Any) -> FitConfig:
        given: dict[str, Any] = {
            "method": "rft",
            "model": str(tiny_model),
            "data": [jsonl(*rows(3), name="problems.jsonl")],
            "output": tmp_path / output,
            "lora": {"rank": 4},
            "optim": {"batch_size": 4, "accumulate": 2, "max_steps": 2, "learning_rate": 5e-3},
            "max_length": 256,
            "dtype": "float32",
            "log_steps": 1,
            "save_steps": 1,
        }
        return FitConfig.model_validate({**given, **fields, "rft": {**SMALL, **fields.get("rft", {})}})

    return config


@pytest.fixture
def first(make: Make, quiet: Console) -> Path:
    """An adapter to begin from, which is not the base model any more."""
    optim = {"batch_size": 4, "max_steps": 1, "learning_rate": 5e-2, "warmup": 0.0}
    path = fit(make("first", optim=optim), quiet).path
    assert all(tensor.abs().sum() > 0 for tensor in load_file(path / artifact.WEIGHTS).values())
    return path


def train_until(config: FitConfig, step: int, quiet: Console) -> Path:
    """Train `config` and die at `step`, after its checkpoint."""
    from transformers import TrainerCallback

    class Killed(Exception):
        pass

    class Kill(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == step:
                raise Killed

    job = prepare(config, quiet)
    claim_work(job.work, origin(config, job.folder)["run_sha256"])
    trainer = build(job, quiet)
    trainer.add_callback(Kill())
    with pytest.raises(Killed):
        trainer.train()
    return job.work


def curves(manifest: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(entry[name] for name in names) for entry in manifest["metrics"]["history"] if "reward" in entry]


def test_it_leaves_an_adapter_with_its_reward_curve(make: Make, quiet: Console, jsonl: Callable[..., Path]) -> None:
    held_out = jsonl(*rows(1), name="held_out.jsonl")
    fitted = fit(make(eval_data=[held_out], eval_steps=1), quiet)
    assert {path.name for path in fitted.path.iterdir()} == {artifact.WEIGHTS, artifact.CONFIG, artifact.MANIFEST, artifact.CARD}
    assert any(tensor.abs().sum() > 0 for name, tensor in load_file(fitted.path / artifact.WEIGHTS).items() if "lora_B" in name)
    manifest = json.loads((fitted.path / artifact.MANIFEST).read_text())
    metrics = manifest["metrics"]
    assert metrics["steps"] == 2
    assert 0 <= metrics["eval_reward"] <= 1
    for reward, short, right, errors in curves(manifest, "reward", "grader/short", "grader/right", "grader_errors"):
        assert reward == pytest.approx((short + right) / 2)
        assert 0 < short < 1
        assert errors == 0


def test_a_prompt_has_the_tokens_of_the_served_chat(make: Make, quiet: Console, tokenizer: Any) -> None:
    trainer = build(prepare(make(), quiet), quiet)
    numbers = [row["prompt"] for row in trainer.train_dataset]
    tokens, _, _ = trainer._tokenize_prompts(numbers)
    served = [
        tokenizer.apply_chat_template(list(solve_messages(row["problem"])), tokenize=True, add_generation_prompt=True)["input_ids"]
        for row in rows(3)
    ]
    assert tokens == served


def test_the_sampled_end_token_is_trained_where_pad_is_eos(make: Make, quiet: Console) -> None:
    trainer = build(prepare(make(rft={"max_completion_length": 128, "temperature": 3.0}), quiet), quiet)
    end = trainer.processing_class.eos_token_id
    assert trainer.processing_class.pad_token_id == end
    trainer.model.train()
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    ended = 0
    for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True):
        trained = ids[mask.bool()]
        ended += int(trained[-1] == end)
        assert (trained == end).sum() == int(trained[-1] == end)
        assert len(trained) == 128 or trained[-1] == end
    assert ended


@pytest.mark.parametrize("warm", [False, True], ids=["new", "warm"])
def test_a_killed_run_resumes_to_the_same_adapter(make: Make, quiet: Console, request: pytest.FixtureRequest, warm: bool) -> None:
    """Over the end of an epoch; warm, TRL keeps a copy of the first adapter beside the trained one."""
    rft: dict[str, Any] = {"beta": 0.1, "warm_start": request.getfixturevalue("first") if warm else None}
    optim = {"batch_size": 4, "accumulate": 2, "max_steps": 4, "learning_rate": 5e-2}
    whole = fit(make("whole", rft=rft, optim=optim), quiet)
    train_until(make("cut", rft=rft, optim=optim), 3, quiet)
    resumed = fit(make("cut", rft=rft, optim=optim), quiet)
    names = ("step", "loss", "reward", "kl", "num_tokens")
    assert curves(resumed.manifest, *names) == curves(whole.manifest, *names)
    assert resumed.manifest["content_sha256"] == whole.manifest["content_sha256"]
    assert "going on from checkpoint-3" in quiet.file.getvalue()  # type: ignore[attr-defined]


def test_a_warm_start_is_gone_on_with(make: Make, quiet: Console, first: Path) -> None:
    config = make("second", rft={"warm_start": first, "beta": 0.5}, optim={"batch_size": 4, "max_steps": 1, "learning_rate": 1e-9})
    second = fit(config, quiet)
    before, after = load_file(first / artifact.WEIGHTS), load_file(second.path / artifact.WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    (kl,) = (entry["kl"] for entry in second.manifest["metrics"]["history"] if "kl" in entry)
    assert kl == pytest.approx(0.0, abs=1e-6)


def test_rewards_make_the_rewarded_likelier(make: Make, quiet: Console) -> None:
    """Short texts are rewarded: soon there are no others. The temperature is low because the model's logits are small."""
    optim = {"batch_size": 16, "max_steps": 5, "learning_rate": 5e-3, "schedule": "constant", "warmup": 0.0}
    rft = {"graders": [{**SHORT, "zero": 32}], "num_generations": 8, "temperature": 0.05}
    fitted = fit(make(rft=rft, optim=optim, save_steps=100), quiet)
    rewards = [reward for (reward,) in curves(fitted.manifest, "reward")]
    assert rewards[0] < 0.8 < 0.95 < rewards[-1]


def test_another_warm_start_is_another_run(make: Make, quiet: Console, tmp_path: Path, first: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(first, moved)
    folder = prepare(make(), quiet).folder

    def run(**rft: Any) -> str:
        return str(origin(make(rft=rft), folder)["run_sha256"])

    assert run(warm_start=first) == run(warm_start=moved) == run(warm_start=moved, workers=2)
    assert len({run(), run(warm_start=first), run(beta=0.5), run(graders=[RIGHT])}) == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optim": {"batch_size": 6}}, "num_generations: 4 does not divide the 6 completions"),
        ({"rft": {"graders": []}}, "rft.graders: method rft needs at least one grader"),
        ({"rft": {"graders": [RIGHT, RIGHT]}}, "right: expected each name once"),
        ({"rft": {"graders": [{**RIGHT, "colour": 1}]}}, "colour"),
        ({"rft": {"max_completion_length": 256}}, "leaves no room for a prompt"),
        ({"rft": {"use_vllm": True}}, "vllm_server"),
        (
            {"rft": {"graders": [{"type": "score_model", "name": "j", "model": "m", "input": [{"role": "user", "content": "?"}]}]}},
            "judge_url",
        ),
        ({"lora": {"dropout": 0.1}}, "lora.dropout"),
        ({"lora": None}, "rft trains a plain adapter"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused(make: Make, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says.replace("[", r"\[")):
        make(**change)


def test_a_row_without_what_a_grader_reads_is_named(make: Make, quiet: Console, jsonl: Callable[..., Path]) -> None:
    path = jsonl(*rows(2), {"problem": "What is 2?", "answer": "2"}, name="bad.jsonl")
    with pytest.raises(BadRow, match=r"bad\.jsonl:3: field `gold`: is missing; .* \(grader 'right' reads it\)"):
        prepare(make(data=[path]), quiet)
    prepare(make(data=[path], rft={"graders": [{**RIGHT, "reference": "2"}]}), quiet)


def test_rows_of_another_method_are_refused(make: Make, quiet: Console, jsonl: Callable[..., Path]) -> None:
    with pytest.raises(BadRow, match="problem rows"):
        prepare(make(data=[{"path": jsonl(*rows(1)), "format": "solution"}]), quiet)
    with pytest.raises(BadRow, match="cannot be used for sft"):
        prepare(make(method="sft", data=[{"path": jsonl(*rows(1)), "format": "problem"}]), quiet)


def test_a_prompt_that_leaves_no_room_for_the_reply_is_refused(make: Make, quiet: Console) -> None:
    with pytest.raises(BadRow, match=r"over max_length 100 less rft\.max_completion_length 90"):
        prepare(make(max_length=100, rft={"max_completion_length": 90}), quiet)


def test_a_warm_start_that_does_not_fit_is_refused(make: Make, quiet: Console, tmp_path: Path, first: Path) -> None:
    with pytest.raises(BadConfig, match="rank 4, not 8"):
        fit(make(rft={"warm_start": first}, lora={"rank": 8}), quiet)
    with pytest.raises(BadConfig, match="expected the folder of an adapter"):
        fit(make(rft={"warm_start": tmp_path / "nowhere"}), quiet)
    manifest = json.loads((first / artifact.MANIFEST).read_text())
    manifest["base"]["weights_sha256"] = "0" * 64
    (first / artifact.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BadConfig, match="another base model"):
        fit(make(rft={"warm_start": first}), quiet)


FAILS = {"type": "python", "name": "odd", "source": "def grade(sample, item):\n    return 1 / (int(item['gold']) - 3)\n"}


def test_a_failed_grading_stops_the_run_or_is_left_out(make: Make, quiet: Console) -> None:
    optim = {"batch_size": 4, "accumulate": 3, "max_steps": 1}
    with pytest.raises(GraderFailed, match=r"odd.*ZeroDivisionError"):
        fit(make(rft={"graders": [FAILS]}, optim=optim), quiet)
    fitted = fit(make("other", rft={"graders": [FAILS], "on_grader_error": "skip"}, optim=optim), quiet)
    assert curves(fitted.manifest, "grader_errors", "reward") == [(4.0, pytest.approx(0.75))]


def test_a_grader_sees_what_a_server_would_have_sent(tokenizer: Any) -> None:
    from trainer.fitting.rewards import Rewards
    from trainer.rft import Rft

    rewards = Rewards(Rft(), [], lambda ids: tokenizer.decode(ids, skip_special_tokens=True), {tokenizer.eos_token_id})
    ids = tokenizer.encode("It is \\boxed{4}.", add_special_tokens=False)
    assert rewards.sample([*ids, tokenizer.eos_token_id]) == Sample("It is \\boxed{4}.", "stop", len(ids) + 1)
    assert rewards.sample(ids) == Sample("It is \\boxed{4}.", "length", len(ids))


def test_every_problem_comes_once_an_epoch_and_a_full_step_is_made() -> None:
    from trainer.fitting.groups import Groups

    order = Groups(count=5, per_step=2, generations=3, repeats=2, seed=1)
    first = list(order)
    assert len(first) == len(order) == 36
    for step in range(0, 36, 12):
        assert first[step : step + 6] == first[step + 6 : step + 12]
        assert first[step : step + 3] == [first[step]] * 3
    assert set(first) == set(range(5))
    order.set_epoch(1)
    assert list(order) != first
    order.set_epoch(0)
    assert list(order) == first
    assert list(Groups(2, 1, 2, 1, None)) == [0, 0, 1, 1]
