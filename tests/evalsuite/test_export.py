"""Runs in other tools' forms: the fields that their readers need, and numbers that agree with the summary."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow.parquet
import pytest

from evalsuite import export
from evalsuite.commands.measure import write_summary
from evalsuite.config import RunConfig, Sampling, Strategy
from evalsuite.export import inspect_log, lm_eval, parquet
from tests.evalsuite.scripted_server import run_cli, says
from tests.evalsuite.test_runner import config, draft, run, solved, task


@pytest.fixture
async def voted(tmp_path: Path) -> Path:
    made = config(Strategy.VOTE, 3, temperature=0.7)
    contents = {"a": ["so 1", "so 2", "so 1"], "b": ["so 2", "no", "so 2"]}
    value, _ = await run(tmp_path / "run", made, task(a="1", b="1"), says(contents))
    write_summary(tmp_path / "run", value)
    return tmp_path / "run"


async def test_lm_evals_two_files(voted: Path, tmp_path: Path) -> None:
    results, samples = lm_eval.write(export.load(voted), tmp_path / "out")
    found = json.loads(results.read_text())
    scores = found["results"]["t"]
    assert scores["exact_match,none"] == 0.5
    assert scores["exact_match_stderr,none"] == pytest.approx(math.sqrt(0.5 / 2))
    assert found["n-samples"]["t"] == {"original": 2, "effective": 2}
    assert results.name.startswith("results_")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    by_problem = {line["doc"]["problem"]: line for line in lines}
    assert by_problem["a"]["resps"] == [["so 1", "so 2", "so 1"]]
    assert (by_problem["a"]["filtered_resps"], by_problem["a"]["exact_match"]) == (["1"], 1.0)
    assert (by_problem["b"]["filtered_resps"], by_problem["b"]["exact_match"]) == (["2"], 0.0)
    asked = by_problem["a"]["arguments"]["gen_args_0"]
    assert json.loads(asked["arg_0"])[-1] == {"role": "user", "content": "a"}
    assert asked["arg_1"] == {"model": "tiny", "n": 3, "max_tokens": 64, "temperature": 0.7}


async def test_inspects_log_has_an_epoch_for_each_response(voted: Path, tmp_path: Path) -> None:
    (path,) = inspect_log.write(export.load(voted), tmp_path / "out")
    log = json.loads(path.read_text())
    assert (log["version"], log["status"], log["eval"]["config"]) == (2, "success", {"epochs": 3})
    assert log["results"]["scores"][0]["metrics"]["accuracy"]["value"] == 0.5
    of_a = sorted(
        (s["epoch"], s["scores"]["evalsuite"]["value"], s["scores"]["evalsuite"]["answer"]) for s in log["samples"] if s["id"] == "t/0"
    )
    assert of_a == [(1, "C", "1"), (2, "I", "2"), (3, "C", "1")]
    assert [m["role"] for m in log["samples"][0]["messages"]] == ["system", "user", "assistant"]
    assert log["stats"]["model_usage"]["tiny"]["output_tokens"] == 30


async def test_a_loop_is_exported_by_what_it_answered(tmp_path: Path) -> None:
    async def script(body: object, time: int) -> object:
        return solved("1", draft(0, "2"), draft(1, "1"))

    loop = RunConfig("t", "print", "tiny", Strategy.LOOP, Sampling(2, 64, None, None))
    value, _ = await run(tmp_path, loop, task(a="1"), script)  # type: ignore[arg-type]
    write_summary(tmp_path, value)
    ((_, mark, position),) = export.load(tmp_path).responses()
    assert (mark["answer"], mark["outcome"], position) == ("1", "right", 0)


async def test_parquet_has_a_row_for_each_response(voted: Path, tmp_path: Path) -> None:
    (path,) = parquet.write(export.load(voted), tmp_path / "out")
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert sorted((r["id"], r["position"], r["outcome"]) for r in rows) == [
        ("t/0", 0, "right"), ("t/0", 1, "wrong"), ("t/0", 2, "right"),
        ("t/1", 0, "wrong"), ("t/1", 1, "no_answer"), ("t/1", 2, "wrong"),
    ]  # fmt: skip


async def test_the_command_writes_into_the_runs_directory(voted: Path) -> None:
    for form in ("lm-eval", "inspect", "parquet"):
        code, out, err = await run_cli("export", str(voted), "--format", form)
        assert code == 0, err
        assert all(Path(line).is_file() for line in out.splitlines())
        assert list((voted / form).iterdir())
    code, _, err = await run_cli("export", str(voted), "--format", "csv")
    assert code == 2
