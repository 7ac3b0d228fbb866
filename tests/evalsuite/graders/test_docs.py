"""The graders' page: each example is a grader, each type and fault is told; and the command that tries one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from evalsuite.cli import main
from evalsuite.graders import Fault, parse
from evalsuite.graders.forms import METRICS, Metric, Multi, Single
from tests import pages
from tests.pages import ROOT, Block

PAGE = ROOT / "docs" / "graders.md"
BLOCKS = list(pages.blocks(PAGE, "json"))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_an_example_is_a_grader(block: Block) -> None:
    parse(json.loads(block.text))


def test_every_type_metric_and_fault_is_told() -> None:
    types = {get_args(form.model_fields["type"].annotation)[0] for form in (*get_args(get_args(Single)[0]), Multi)}
    assert {json.loads(block.text)["type"] for block in BLOCKS} == types
    assert set(re.findall(r"^### (\w+)", pages.read(PAGE), re.MULTILINE)) == types
    assert {fault.value for fault in Fault} <= set(re.findall(r"`(\w+)`", pages.read(PAGE)))
    assert get_args(get_args(Metric)[0]) == METRICS


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    grader, rows = tmp_path / "grader.json", tmp_path / "rows.jsonl"
    grader.write_text('{"type": "math_equal", "name": "right"}', encoding="utf-8")
    outputs: list[dict[str, Any]] = [{"response": "\\boxed{4}", "gold": "4"}, {"response": "5", "gold": "4"}]
    rows.write_text("".join(json.dumps(row) + "\n" for row in outputs), encoding="utf-8")
    return grader, rows


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as end:
        main(["grade-check", *map(str, words)])
    return int(end.value.code or 0)


def test_the_command_grades_each_row(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*files, "--json") == 0
    assert [json.loads(line)["score"] for line in capsys.readouterr().out.splitlines()] == [1.0, 0.0]
    assert run(*files) == 0
    assert "mean 0.500 over 2 of 2 rows" in capsys.readouterr().out


def test_the_command_says_what_could_not_be_graded(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    grader, rows = files
    with rows.open("a") as more:
        more.write('{"response": "4"}\n')
    assert run(grader, rows) == 2
    shown = capsys.readouterr().out
    assert "item.gold: is missing" in " ".join(shown.split())
    assert "mean 0.500 over 2 of 3 rows" in shown
    assert run(grader, rows, "--field", "output") == 2
    assert "rows.jsonl:1: field `output`" in capsys.readouterr().err
