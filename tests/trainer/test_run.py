"""`trainer run`: what a plan is, that done work is not repeated, and that a killed run ends in the same adapter."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from redraft import records
from redraft.errors import EngineUnavailable
from trainer import settings
from trainer.adapters import artifact
from trainer.data.rows import read
from trainer.errors import BadConfig, BadRun
from trainer.running.pipeline import Done, State, run, states
from trainer.running.plan import FIT, load

from .conftest import rows_of
from .dying import dies
from .test_cli import trainer

Write = Callable[..., Path]
RECIPES = Path(settings.__file__).parent / "recipes"
DATA: dict[str, Any] = {
    "solutions": {"task": "redraft-arith-train@1", "limit": 8},
    "inject": {"seed": 0},
    "critique": {},
    "verify": {},
    "select": {"right": 0.5, "limit": 8},
}


def killed(where: str, config: Path) -> None:
    """Run, and die while the fifth record of a file is written, or at the third step of `fit`."""
    append = records.Log.append

    def die(self: Any, *given: Any) -> None:
        if self.path.name == where and len(self.path.read_bytes().splitlines()) == 5:
            self._file.write(b'{"id": "torn')
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        append(self, *given)

    def step(self: Any, args: Any, state: Any, control: Any, **given: Any) -> None:
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        records.Log.append = die  # type: ignore[method-assign]
        if where == FIT:
            from trainer.fitting import progress

            progress.Progress.on_step_end = step
        run(load(config), Console(quiet=True))

    dies(work)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A run's YAML file; a section that is None is left out."""

    def file(name: str = "run.yaml", **sections: Any) -> Path:
        given = {"workdir": str(tmp_path / "work"), **DATA, **sections}
        path = tmp_path / name
        path.write_text(yaml.safe_dump({key: value for key, value in given.items() if value is not None}), encoding="utf-8")
        return path

    return file


@pytest.fixture
def fitting(tiny_model: Path) -> dict[str, Any]:
    return {
        "method": "cft",
        "model": str(tiny_model),
        "lora": {"rank": 4},
        "optim": {"batch_size": 2, "max_steps": 4, "learning_rate": 5e-3},
        "dtype": "float32",
        "save_steps": 2,
        "log_steps": 1,
    }


def fresh(done: list[Done]) -> list[str]:
    return [entry.step.name for entry in done if entry.fresh]


def test_a_run_that_was_killed_ends_in_the_same_adapter(
    write: Write, fitting: dict[str, Any], tmp_path: Path, quiet: Console, one_thread: None
) -> None:
    whole = run(load(write(workdir=str(tmp_path / "whole"), fit=fitting)), quiet)
    config = write(fit=fitting)
    for where in ("critique.jsonl", "verify.jsonl", "fit"):
        killed(where, config)
        plan = load(config)
        cut = Path(where).stem
        assert [step.name for step, state in zip(plan.steps, states(plan), strict=True) if state is State.CUT_OFF] == [cut]
    assert (tmp_path / "work" / "adapter.work" / "checkpoint-2").is_dir()
    done = run(load(config), quiet)
    assert fresh(done) == ["fit"]
    assert "going on from checkpoint-2" in quiet.file.getvalue()  # type: ignore[attr-defined]
    for mine, theirs in zip(done[:-1], whole[:-1], strict=True):
        assert mine.step.output is not None
        assert theirs.step.output is not None
        assert mine.step.output.read_bytes() == theirs.step.output.read_bytes()
    assert done[-1].mark.outputs == whole[-1].mark.outputs
    assert done[-1].mark.note.split(",")[1:] == whole[-1].mark.note.split(",")[1:]


def test_a_run_measures_and_completes_its_adapter(
    write: Write, fitting: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(
        fit={**fitting, "output": "critic", "data": ["select.jsonl", {"path": "solutions.jsonl", "format": "solution"}]},
        evaluate={"task": "redraft-arith@0", "limit": 2, "max_tokens": 4},
        publish={},
    )
    assert trainer(monkeypatch, "run", config) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "work" / "critic")
    assert "stage 8 of 8, publish" in said.err
    manifest = json.loads((tmp_path / "work" / "critic" / artifact.MANIFEST).read_text())
    assert manifest["content_sha256"][:12] in said.err.replace("\n", "")
    assert manifest["examples"] == 16
    (entry,) = manifest["evaluation"]
    assert (entry["critic"]["responses"], entry["base"]["responses"]) == (4, 4)
    assert entry["adapter"] == manifest["content_sha256"]
    again = run(load(config), Console(quiet=True))
    assert fresh(again) == ["publish"]
    assert json.loads((tmp_path / "work" / "critic" / artifact.MANIFEST).read_text()) == manifest


def test_what_is_done_is_done_once(write: Write, quiet: Console) -> None:
    first = run(load(write()), quiet)
    assert fresh(first) == list(DATA)
    assert [(entry.mark.rows_in, entry.mark.rows_out) for entry in first] == [(None, 8), (8, 16), (16, 16), (16, 16), (16, 8)]
    assert first[3].mark.note == "8 right, 8 wrong, teacher noise 0.0%"
    assert fresh(run(load(write()), quiet)) == []


def test_other_settings_are_refused_before_any_work_and_made_again_if_asked(write: Write, quiet: Console, tmp_path: Path) -> None:
    run(load(write()), quiet)
    before = (tmp_path / "work" / "critique.jsonl").read_bytes()
    other = load(write(), ["critique.seed=5", "solutions.limit=8"])
    with pytest.raises(BadRun, match=r"stage 3 of 5, critique: .* --redo"):
        run(other, quiet)
    assert (tmp_path / "work" / "critique.jsonl").read_bytes() == before
    assert [state.value for state in states(other)][2] == State.CHANGED
    assert fresh(run(other, quiet, redo=True)) == ["critique", "verify", "select"]
    assert (tmp_path / "work" / "critique.jsonl").read_bytes() != before


def test_output_that_somebody_changed_is_noticed(write: Write, quiet: Console, tmp_path: Path) -> None:
    run(load(write()), quiet)
    (tmp_path / "work" / "verify.jsonl").write_text("")
    with pytest.raises(BadRun, match="stage 4 of 5, verify"):
        run(load(write()), quiet)
    assert fresh(run(load(write()), quiet, redo=True)) == ["verify"]


def test_redo_removes_nothing_but_its_own(write: Write, quiet: Console, tmp_path: Path) -> None:
    run(load(write()), quiet)
    mine = tmp_path / "work" / "critique.yaml"
    mine.write_text("mine")
    run(load(write(), ["critique.seed=5"]), quiet, redo=True)
    assert mine.read_text() == "mine"


def test_how_fast_and_where_a_stage_works_changes_nothing(write: Write, tmp_path: Path, quiet: Console) -> None:
    sampled = {"task": "redraft-arith-train@1", "engine_url": "http://127.0.0.1:1", "temperatures": 0.7}
    sections = {"solutions": None, "sample": sampled, **dict.fromkeys(("inject", "critique", "verify", "select"))}
    with pytest.raises(EngineUnavailable):
        run(load(write(**sections)), quiet)
    (tmp_path / "work" / "sample.jsonl").touch()
    assert [state.value for state in states(load(write(**sections), ["sample.engine_url=http://127.0.0.1:2", "sample.concurrency=2"]))] == [
        State.CUT_OFF
    ]
    assert states(load(write(**sections), ["sample.n=2"])) == [State.CHANGED]


def test_a_failing_stage_says_which_and_leaves_the_others(
    write: Write, jsonl: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    responses = jsonl({"id": "a", "problem": "What is 1 + 1?", "response": "1 + 1 = 2. \\boxed{2}", "gold": "2"}, name="mine.jsonl")
    config = write(solutions=None, verify=None, inject={}, select={"right": 0.9, "limit": 1}, responses=str(responses))
    assert trainer(monkeypatch, "run", config) == 0
    assert trainer(monkeypatch, "run", config, "select.right=0.2", "select.limit=1", "--redo") == 0
    responses.write_text('{"id": "a", "problem": "b"}\n')
    assert trainer(monkeypatch, "run", config, "select.right=0.2", "--redo") == 2
    said = capsys.readouterr().err
    assert "stopped in stage 1 of 3, inject" in said.replace("\n", " ")
    assert said.splitlines()[-1].startswith(f"trainer: {responses}:1: field `response`")


def test_a_base_model_that_was_changed_is_noticed(
    write: Write, fitting: dict[str, Any], tiny_model: Path, tmp_path: Path, quiet: Console
) -> None:
    base = shutil.copytree(tiny_model, tmp_path / "base")
    plan = load(write(fit={**fitting, "model": str(base), "optim": {**fitting["optim"], "max_steps": 1}}))
    run(plan, quiet)
    assert states(plan)[-1] is State.DONE
    config = base / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert states(plan)[-1] is State.CHANGED


def test_ctrl_c_ends_a_run_and_the_same_command_goes_on(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trainer.stages.select.select", stopped)
        assert trainer(monkeypatch, "run", write()) == 130
    assert "stopped in stage 5 of 5, select" in capsys.readouterr().err
    assert trainer(monkeypatch, "run", write()) == 0
    assert capsys.readouterr().err.count("done before") == 4


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"critique": {"sample": 2}}, "critique.sample: Extra inputs are not permitted"),
        ({"critic": {}}, "critic: Extra inputs are not permitted"),
        ({"critique": {"samples": 0}}, "critique.samples: Input should be greater than or equal to 1"),
        ({"select": {"right": 1.5}}, "select.right: Input should be less than or equal to 1"),
        ({"solutions": {}}, "solutions.task: Field required"),
        ({"solutions": None}, "inject: expected rows"),
        ({"publish": {}}, "publish: expected a section `fit`"),
        ({"responses": "none.jsonl"}, "none.jsonl: no such file"),
        ({"verify": {"test_set": ["none.jsonl"]}}, "verify: .*none.jsonl: no such file, and no earlier stage makes it"),
        ({"fit": {"method": "cft", "model": "m", "lora": {"rank": 500}}}, "fit.lora.rank: 500 is over server_max_rank"),
        ({"fit": {"method": "cft", "model": "m", "data": ["verify.jsonl", "x.jsonl"]}}, "fit: .*x.jsonl: no such file"),
        ({"workdir": None}, "workdir: Field required"),
        (dict.fromkeys(DATA), "expected a section for at least one stage"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_by_name(write: Write, sections: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfig, match=rf"run\.yaml: .*{says}"):
        load(write(**sections))


def test_paths_are_the_workdirs(write: Write, tmp_path: Path, jsonl: Write) -> None:
    (tmp_path / "work").mkdir()
    jsonl({"problem": "What is 1 + 1?", "answer": "2", "solution": "1 + 1 = 2."}, name="work/mine.jsonl")
    plan = load(write(solutions={"task": "mine.jsonl"}, verify={"test_set": ["solutions.jsonl"]}))
    work = tmp_path / "work"
    assert plan.steps[0].inputs == (work / "mine.jsonl",)
    assert plan.steps[3].inputs == (work / "critique.jsonl", work / "solutions.jsonl")
    assert plan.steps[4].files == {"output": work / "select.jsonl", "source": work / "verify.jsonl"}


def test_what_fit_reads_lies_in_the_workdir_too(write: Write, fitting: dict[str, Any], tmp_path: Path, jsonl: Write) -> None:
    work = tmp_path / "work"
    (work / "data").mkdir(parents=True)
    (work / "first").mkdir()
    jsonl({"problem": "p", "gold": "1"}, name="work/data/rows.jsonl")
    (work / "data" / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "rows.jsonl"}}))
    rft = {"graders": [{"type": "math_equal", "name": "right"}], "warm_start": "first", "num_generations": 2, "max_completion_length": 8}
    config = write(fit={**fitting, "method": "rft", "rft": rft, "data": [{"dataset": "mine"}]})
    with pytest.raises(BadConfig, match=r"fit: .*work/first/adapter_config\.json: no such file"):
        load(config)
    for name in (artifact.CONFIG, artifact.WEIGHTS):
        (work / "first" / name).touch()
    read = load(config).steps[-1].inputs
    assert [path.relative_to(work).as_posix() for path in read] == [
        "data/dataset_info.json",
        "data/rows.jsonl",
        f"first/{artifact.CONFIG}",
        f"first/{artifact.WEIGHTS}",
    ]


def test_solutions_beside_other_rows_are_an_anchor_and_no_responses(write: Write, jsonl: Write, fitting: dict[str, Any]) -> None:
    mine = jsonl({"id": "a", "problem": "p", "response": "r"}, name="mine.jsonl")
    plan = load(write(responses=str(mine), inject=None, fit={**fitting, "data": ["select.jsonl", "solutions.jsonl"]}))
    assert {step.name: step.inputs[0].name for step in plan.steps if step.inputs} == {
        "critique": "mine.jsonl",
        "verify": "critique.jsonl",
        "select": "verify.jsonl",
        "fit": "select.jsonl",
    }


@pytest.mark.parametrize(
    "recipe", sorted(path for path in RECIPES.glob("*.yaml") if "workdir:" in path.read_text()), ids=lambda recipe: recipe.stem
)
def test_every_recipe_of_a_run_is_a_valid_plan(recipe: Path) -> None:
    fitted = next(step for step in load(recipe).steps if step.name == FIT)
    assert fitted.output is not None
    assert fitted.output.parent.parts[0] == "runs"


def test_a_dry_run_does_nothing(write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert trainer(monkeypatch, "run", write(), "--dry-run") == 0
    assert "critique.jsonl" in capsys.readouterr().out
    assert not (tmp_path / "work").exists()


def test_a_folder_has_one_run_at_a_time(write: Write, tmp_path: Path, quiet: Console) -> None:
    (tmp_path / "work").mkdir()
    with (tmp_path / "work" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BadRun, match="another `trainer run`"):
            run(load(write()), quiet)
    assert len(run(load(write()), quiet)) == len(DATA)


def test_the_rows_of_a_run_are_what_fit_reads(write: Write, quiet: Console, fitting: dict[str, Any]) -> None:
    plan = load(write(fit=fitting))
    given: Any = plan.steps[-1].settings
    run(load(write()), quiet)
    assert len(list(read(given.data[0], given.method))) == len(rows_of(plan.workdir / "select.jsonl")) == 8
