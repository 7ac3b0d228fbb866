"""The command, from a task to verified critiques, with the real checker; and how it says what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from redraft.scripted import Reply, ScriptedEngine
from tests.openai_server import listening, upstream
from trainer import cli
from trainer.config import REPORTERS, Method, Source
from trainer.data.rows import read

from .conftest import cft_rows, rows_of


def trainer(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command as a shell would; its exit status."""
    monkeypatch.setattr(sys, "argv", ["trainer", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_from_a_task_to_training_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    names = ("solutions", "injected", "critiques", "kept", "chosen", "test")
    right, injected, critiques, kept, chosen, held_out = (tmp_path / f"{name}.jsonl" for name in names)
    assert trainer(monkeypatch, "solutions", "redraft-arith-hard@1", right, "--limit", 15) == 0
    held_out.write_text(right.read_text().splitlines()[3] + "\n")
    assert trainer(monkeypatch, "inject", right, injected, "--seed", 2) == 0
    assert trainer(monkeypatch, "critique", injected, critiques, "--samples", 2) == 0
    capsys.readouterr()
    assert trainer(monkeypatch, "verify", critiques, kept, "--test-set", held_out) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["teacher_noise"] == 0
    assert counts["rejected"] == {"test_set": 4}
    assert counts["kept"] == len(rows_of(kept)) >= 52
    assert trainer(monkeypatch, "select", kept, chosen, "--right", 0.5, "--limit", 20) == 0
    examples = list(read(Source(path=chosen), Method.CFT))
    assert [example.completion.endswith("Conclusion: right [END]") for example in examples].count(True) == 10


def test_an_error_is_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "fit.yaml"
    path.write_text("method: cft\nmodel: m\ndata: [a.jsonl]\noutput: out\n")
    assert trainer(monkeypatch, "fit", path, "lora.rank=500") == 2
    assert (
        trainer(monkeypatch, "sample", "redraft-arith", tmp_path / "o", "--engine-url", "http://127.0.0.1:1", "--temperatures", "hot") == 2
    )
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith(f"trainer: {path}: lora.rank: 500 is over server_max_rank 64")
    assert errors[1] == "trainer: --temperatures: 'hot': expected numbers separated by commas"


def test_an_engine_that_cannot_be_reached_is_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert trainer(monkeypatch, "sample", "redraft-arith", tmp_path / "o", "--engine-url", "http://127.0.0.1:1") == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_fitting_from_the_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_model: Path, jsonl: Callable[..., Path]
) -> None:
    settings = tmp_path / "fit.yaml"
    output = tmp_path / "adapter"
    optim = {"batch_size": 4, "max_steps": 1}
    given = {"method": "cft", "model": str(tiny_model), "data": [str(jsonl(*cft_rows(4)))], "output": str(output), "optim": optim}
    settings.write_text(json.dumps({**given, "lora": {"rank": 4}, "dtype": "float32"}))
    assert trainer(monkeypatch, "preview", settings, "-n", 1) == 0
    assert "Conclusion: right [END]<|im_end|>" in capsys.readouterr().out
    monkeypatch.setitem(REPORTERS, "wandb", "json")
    assert trainer(monkeypatch, "fit", settings, "--report-to", "wandb", "--report-to", "paper") == 2
    assert "report_to: 'paper': expected one of tensorboard" in capsys.readouterr().err
    for said in ("step 1/1 loss ", "was made by this very run already"):
        assert trainer(monkeypatch, "fit", settings) == 0
        told = capsys.readouterr()
        assert said in " ".join(told.err.split())
        assert told.out.strip() == str(output)


@pytest.mark.parametrize(
    "command", ["sample", "solutions", "inject", "critique", "verify", "select", "preview", "fit", "evaluate", "publish", "run"]
)
def test_every_command_has_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert trainer(monkeypatch, command, "--help") == 0
    assert f"trainer {command} " in capsys.readouterr().out


def test_sampling_from_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine = ScriptedEngine(lambda request: [Reply("It is \\boxed{-1}.")] * request.n)
    output = tmp_path / "responses.jsonl"
    with listening(upstream(engine)) as url:
        options = ("--engine-url", url, "--limit", 3, "-n", 2, "--temperatures", "0.5,1", "--seed", 7)
        assert trainer(monkeypatch, "sample", "redraft-arith@1", output, *options) == 0
    assert [(row["label"], row["model"]) for row in rows_of(output)] == [("wrong", "scripted")] * 12
    assert {(request.temperature, request.seed, request.n) for request in engine.requests} == {(0.5, 7, 2), (1.0, 7, 2)}
