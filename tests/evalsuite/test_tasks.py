"""Tasks: named, generated, from files; and what a bad row says."""

from __future__ import annotations

import re
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from evalsuite.tasks import BadRow, Fields, listings, load
from evalsuite.tasks.arith import FAMILIES, generate
from redraft.errors import BadRequest


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_generated_problems_are_reproducible_and_a_longer_task_begins_with_the_shorter(family: str) -> None:
    assert generate(family, 3, 50) == generate(family, 3, 20) + generate(family, 3, 30, start=20)
    assert generate(family, 3, 50) != generate(family, 4, 50)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_step_of_a_generated_solution_is_true_and_ends_at_the_gold(family: str) -> None:
    for problem in generate(family, 0, 300):
        assert problem.solution is not None
        steps = re.findall(r"([\d+\-*/ ]+) = (\d+)\.", problem.solution)
        assert steps, problem
        for left, right in steps:
            assert _value(left) == int(right), problem
        assert steps[-1][1] == problem.answer
        assert problem.solution.endswith(f"\\boxed{{{problem.answer}}}")
        numbers = set(re.findall(r"\d+", problem.problem))
        used = set(re.findall(r"\d+", steps[0][0]))
        assert used <= numbers, problem


def _value(expression: str) -> Fraction:
    """Left to right, with products first: enough for the steps of a solution."""
    total = Fraction(0)
    for sign, term in re.findall(r"([+-]?)\s*(\d+(?:\s*[*/]\s*\d+)*)", expression):
        value = Fraction(1)
        for operator, number in re.findall(r"([*/]?)\s*(\d+)", term):
            value = value / int(number) if operator == "/" else value * int(number)
        total += -value if sign == "-" else value
    return total


def test_training_problems_are_never_those_that_measure() -> None:
    for family in ("redraft-arith", "redraft-arith-hard"):
        measured = {p.problem for seed in range(3) for p in generate(family, seed, 400)}
        trained = {p.problem for seed in range(3) for p in generate(f"{family}-train", seed, 2000)}
        assert not measured & trained
        assert len(trained) > 5000


def test_a_seed_in_the_name_gives_other_problems_and_another_fingerprint() -> None:
    zero, seven = load("redraft-arith", limit=5), load("redraft-arith@7", limit=5)
    assert zero.problems != seven.problems
    assert zero.fingerprint != seven.fingerprint
    with pytest.raises(BadRequest, match="seed must be a whole number"):
        load("redraft-arith@x")


def test_a_limit_changes_no_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", '{"problem": "a", "answer": 1}', '{"problem": "b", "answer": "2"}')
    whole, part = load(path), load(path, limit=1)
    assert [p.answer for p in whole.problems] == ["1", "2"]
    assert [p.id for p in part.problems] == ["t/0"]
    assert whole.fingerprint == part.fingerprint


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"problem": "b"}', r"t\.jsonl:2: field 'answer' is missing; the row has problem"),
        ('{"problem": "b", "answer": ["1"]}', r"t\.jsonl:2: field 'answer': expected text or a number, found list"),
        ('{"problem": "b", "answer": true}', r"t\.jsonl:2: field 'answer': expected text or a number, found bool"),
        ('{"problem": " ", "answer": "1"}', r"t\.jsonl:2: field 'problem' is empty"),
        ('{"problem": "b", ', r"t\.jsonl:2: not JSON"),
        (r'{"problem": "b \ud800", "answer": "1"}', r"t\.jsonl:2: field 'problem' holds half a character"),
        ('{"problem": "b", "answer": ' + "9" * 5000 + "}", r"t\.jsonl:2: not JSON that can be read"),
        ("[1]", r"t\.jsonl:2: expected a JSON object, found list"),
        ('{"problem": "b", "answer": "1", "id": "one"}', r"t\.jsonl:2: field 'id': 'one' was used in line 1 already"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path: Path, line: str, said: str) -> None:
    path = write(tmp_path / "t.jsonl", '{"problem": "a", "answer": "1", "id": "one"}', line, '{"problem": "c", "answer": "3"}')
    with pytest.raises(BadRow, match=said):
        load(path)
    task = load(path, allow_bad_rows=True)
    assert [p.problem for p in task.problems] == ["a", "c"]
    assert len(task.bad_rows) == 1
    assert re.search(said, task.bad_rows[0])


def test_csv_with_other_column_names(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "question,gold,id", '"one, two",12,x', "three,3,")
    task = load(path, fields=Fields("question", "gold"))
    assert [(p.id, p.problem, p.answer) for p in task.problems] == [("x", "one, two", "12"), ("t/1", "three", "3")]
    path = write(tmp_path / "u.csv", "problem,answer", "a,1,2")
    with pytest.raises(BadRow, match=r"u\.csv:2: 1 more columns than the header names"):
        load(path)


def test_a_named_task_is_read_from_the_data_dir(tmp_path: Path) -> None:
    write(tmp_path / "gsm8k_test.jsonl", '{"id": "gsm8k-test/0", "problem": "a", "answer": "18"}')
    task = load("gsm8k", data_dir=tmp_path)
    assert (task.name, task.max_tokens, task.problems[0].id) == ("gsm8k", 512, "gsm8k-test/0")


def test_unknown_tasks_and_files_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"neither a \.jsonl, \.csv or \.parquet file, nor hub:.*, nor one of redraft-arith"):
        load("gsm9k")
    with pytest.raises(BadRequest, match="no such file"):
        load(str(tmp_path / "none.jsonl"))
    with pytest.raises(BadRequest, match=r"no usable row \(1 bad\)"):
        load(write(tmp_path / "t.jsonl", "[]"), allow_bad_rows=True)
    with pytest.raises(BadRequest, match=r"e\.jsonl: no row in it"):
        load(write(tmp_path / "e.jsonl"))
    with pytest.raises(BadRequest, match=r"--data-dir .*nowhere: no such directory"):
        load("gsm8k", data_dir=tmp_path / "nowhere")
    for wrong, meant in (("GSM8K", "gsm8k"), ("redraft-gim@3", "redraft-gym"), ("reasoning_gym:gcd", "reasoning-gym:gcd")):
        with pytest.raises(BadRequest, match=f"reasoning-gym:FAMILY; did you mean {meant}\\?$"):
            load(wrong)


def test_the_hub_rows_of_a_task_are_read_with_its_own_gold(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    asked: list[tuple[object, ...]] = []

    def load_dataset(repo: str, config: str | None, *, split: str, revision: str) -> list[dict[str, object]]:
        asked.append((repo, config, split, revision))
        return [{"problem": f"p {config}", "solution": rf"thus \boxed{{1}}, no: \boxed{{\frac{{1}}{{{len(asked)}}}}}."}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    task = load("math", limit=2)
    assert [p.answer for p in task.problems] == [r"\frac{1}{1}", r"\frac{1}{2}"]
    assert len(asked) == 7
    assert all(len(str(revision)) == 40 for *_, revision in asked)


def test_any_data_set_of_the_hub_is_a_task_when_it_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    def load_dataset(repo: str, config: str | None, *, split: str, revision: str) -> list[dict[str, object]]:
        return [{"q": f"{repo} {config} {split} {revision}", "a": 5}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    task = load("hub:me/mine?revision=abc&split=train&config=c", fields=Fields("q", "a"))
    assert [(p.problem, p.answer) for p in task.problems] == [("me/mine c train abc", "5")]
    for wrong in ("hub:me/mine", "hub:mine?revision=abc", "hub:me/mine?revision=abc&shard=1"):
        with pytest.raises(BadRequest, match="expected hub:OWNER/NAME"):
            load(wrong)


def test_a_hub_row_without_an_answer_is_a_bad_row_and_a_missing_data_set_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    def load_dataset(repo: str, config: str | None, *, split: str, revision: str) -> list[dict[str, object]]:
        if repo == "me/none":
            raise ConnectionError("no route")
        return [{"problem": "p", "answer": "1"}, {"problem": "q", "answer": None}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(BadRow, match=r"me/mine@abc:2: field 'answer': expected text or a number, found NoneType"):
        load("hub:me/mine?revision=abc")
    assert len(load("hub:me/mine?revision=abc", allow_bad_rows=True).bad_rows) == 1
    with pytest.raises(BadRequest, match="me/none@abc could not be loaded: no route"):
        load("hub:me/none?revision=abc")


def test_every_listing_names_a_licence_and_a_token_limit() -> None:
    assert {"redraft-arith", "redraft-arith-hard", "gsm8k", "math", "math500", "aime24", "aime25", "amc23"} <= {x.name for x in listings()}
    assert all(x.licence and x.max_tokens > 0 for x in listings())
