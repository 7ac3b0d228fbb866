"""Every format becomes prompt and reply; every wrong row is named by file, line and field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redraft import prompts
from redraft.errors import BadRequest
from trainer.config import Format, Method, Source
from trainer.data.rows import Example, read
from trainer.errors import BadConfig, BadRow
from trainer.origin import data_identity

from .conftest import CFT_ROW

Jsonl = Callable[..., Path]
ASK, SAY = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}


def examples(path: Path, method: Method = Method.SFT, form: Format = Format.AUTO) -> list[Example]:
    return list(read(Source(path=path, format=form), method))


def test_a_cft_row_is_rendered_by_the_serving_prompts(jsonl: Jsonl) -> None:
    (example,) = examples(jsonl(CFT_ROW), Method.CFT)
    assert example.prompt == prompts.critique_messages("What is 12 + 30?", "12 + 30 = 42")
    assert example.completion == "Critique:\nThe sum of 12 and 30 is 42.\n\nConclusion: right [END]"


def test_a_published_cft_row_loads_as_it_is(jsonl: Jsonl) -> None:
    row = {
        "instruction": "Please critique whether the following solution to the question is correct.",
        "input": "Question:\nWhat is 12 + 30?\n\nSolution:\n12 + 30 = 42",
        "output": "Critique:\nThe sum of 12 and 30 is 42.\n\nConclusion: right [END]",
    }
    published, own = examples(jsonl(row, name="a.jsonl"), Method.CFT), examples(jsonl(CFT_ROW, name="b.jsonl"), Method.CFT)
    assert (published[0].prompt, published[0].completion) == (own[0].prompt, own[0].completion)


@pytest.mark.parametrize(
    ("row", "prompt", "completion"),
    [
        ({"problem": "1+1?", "solution": "2"}, prompts.solve_messages("1+1?"), "2"),
        ({"messages": [ASK, SAY]}, (ASK,), "Hello"),
        ({"instruction": "Add", "input": "1 1", "output": "2"}, ({"role": "user", "content": "Add\n\n1 1"},), "2"),
        ({"instruction": "Again", "output": "3", "history": [["Hi", "Hello"]]}, (ASK, SAY, {"role": "user", "content": "Again"}), "3"),
        ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}, (ASK,), "Hello"),
        ({"prompt": "Hi", "completion": "Hello"}, (ASK,), "Hello"),
        ({"prompt": [ASK], "completion": [SAY]}, (ASK,), "Hello"),
    ],
)
def test_each_format(jsonl: Jsonl, row: dict[str, Any], prompt: tuple[Any, ...], completion: str) -> None:
    (example,) = examples(jsonl(row))
    assert (example.prompt, example.completion) == (prompt, completion)


def test_every_assistant_turn_is_learnt_after_all_that_came_before(jsonl: Jsonl) -> None:
    first, second = examples(jsonl({"messages": [ASK, SAY, ASK, {"role": "assistant", "content": "Again"}]}))
    assert (len(first.prompt), first.completion) == (1, "Hello")
    assert (len(second.prompt), second.completion) == (3, "Again")


def test_preferences(jsonl: Jsonl) -> None:
    (example,) = examples(jsonl({"prompt": "Hi", "chosen": "Hello", "rejected": "No"}), Method.DPO)
    assert (example.completion, example.rejected) == ("Hello", "No")


@pytest.mark.parametrize(
    ("row", "method", "field", "says"),
    [
        ({**CFT_ROW, "conclusion": "correct"}, Method.CFT, "conclusion", "expected 'right' or 'wrong', found 'correct'"),
        ({**CFT_ROW, "critique": "Fine. Conclusion: right"}, Method.CFT, "critique", "expected the judgement alone"),
        ({key: value for key, value in CFT_ROW.items() if key != "critique"}, Method.CFT, "critique", "is missing"),
        ({**CFT_ROW, "problem": 12}, Method.CFT, "problem", "expected a text, found int"),
        ({"messages": [ASK]}, Method.SFT, "messages", "ending with assistant"),
        ({"messages": [ASK, SAY, SAY]}, Method.SFT, "messages", "in turn"),
        ({"messages": [{"role": "bot", "content": "x"}]}, Method.SFT, "messages[0].role", "found 'bot'"),
        ({"messages": [ASK, {"role": "assistant", "content": ""}]}, Method.SFT, "messages[1].content", "expected a text"),
        ({"conversations": [{"from": "human"}]}, Method.SFT, "conversations[0].value", "expected a text"),
        ({"instruction": "a", "output": "b", "history": ["x"]}, Method.SFT, "history[0]", "pair"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "a"}, Method.DPO, "rejected", "the same"),
        ({"prompt": "Hi", "completion": "a"}, Method.DPO, "format", "preference"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b"}, Method.SFT, "format", "one reply"),
        ({"text": "Hi"}, Method.SFT, "format", "'text'"),
    ],
)
def test_a_wrong_row_says_where_and_what_was_expected(jsonl: Jsonl, row: dict[str, Any], method: Method, field: str, says: str) -> None:
    good = {Method.CFT: CFT_ROW, Method.DPO: {"prompt": "Hi", "chosen": "a", "rejected": "b"}, Method.SFT: {"messages": [ASK, SAY]}}[method]
    path = jsonl(good, row)
    with pytest.raises(BadRow) as caught:
        examples(path, method, Format.AUTO) if row.keys() == good.keys() else examples(jsonl(row), method)
    assert caught.value.field == field
    assert says in caught.value.message
    assert caught.value.message.startswith(str(path))


def test_the_line_is_named(jsonl: Jsonl) -> None:
    path = jsonl(CFT_ROW, CFT_ROW, {**CFT_ROW, "response": " "})
    with pytest.raises(BadRow, match=r"rows\.jsonl:3: field `response`"):
        examples(path, Method.CFT)


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    path.write_text(json.dumps(CFT_ROW)[:0], encoding="utf-8")
    with pytest.raises(BadRow, match="at least one row"):
        examples(path, Method.CFT)


def write_json(path: Path, rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_the_same_rows_from_every_kind_of_file(jsonl: Jsonl, tmp_path: Path) -> None:
    rows = [{"messages": [ASK, SAY]}, {"messages": [{"role": "system", "content": "Be kind."}, ASK, {"role": "assistant", "content": "2"}]}]
    lines = jsonl(*rows, name="lines.json")
    files = [jsonl(*rows), lines, write_json(tmp_path / "array.json", rows), write_parquet(tmp_path / "table.parquet", rows)]
    read_from = [[(example.prompt, example.completion) for example in examples(file)] for file in files]
    assert read_from == [read_from[0]] * 4
    assert len(read_from[0]) == 2


def test_a_wrong_row_of_an_array_or_a_table_is_named(tmp_path: Path) -> None:
    rows = [CFT_ROW, {**CFT_ROW, "critique": ""}]
    with pytest.raises(BadRow, match=r"a\.json: row 2: field `critique`: expected a text, found an empty one"):
        examples(write_json(tmp_path / "a.json", rows), Method.CFT)
    with pytest.raises(BadRow, match=r"a\.parquet: row 2: field `critique`"):
        examples(write_parquet(tmp_path / "a.parquet", rows), Method.CFT)
    with pytest.raises(BadRow, match=r"b\.json: row 2: field `row`: expected an object, found int"):
        examples(write_json(tmp_path / "b.json", [CFT_ROW, 3]), Method.CFT)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", '[{"a": 1},\n {"b" 2}]', r"a\.json:2: not JSON \(Expecting ':' delimiter at column 7\)"),
        ("a.parquet", "PAR1 but no more", r"a\.parquet: not Parquet"),
        ("a.csv", "a,b", r"a\.csv: expected a file \.jsonl, \.json, \.parquet, found '\.csv'"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest, match=says):
        examples(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="no such file"):
        examples(tmp_path / "none.jsonl")


@pytest.mark.parametrize("spec", ["hub:acme?revision=a", "hub:acme/sums", "hub:acme/sums?revision=", "hub:acme/sums?revision=a&branch=b"])
def test_a_hub_id_must_be_whole_and_pinned(spec: str) -> None:
    with pytest.raises(BadConfig, match=r"expected hub:OWNER/NAME\?revision=SHA"):
        list(read(Source.model_validate(spec), Method.SFT))


def test_rows_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes a folder of that name for the hub's data set: no network is needed to see that rows come through it."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "acme" / "sums" / "train.json", [{"problem": "1+1?", "solution": "2"}, {"problem": "1+2?", "solution": ""}])
    source = Source.model_validate("hub:acme/sums?revision=abc")
    rows = read(source, Method.SFT)
    assert next(rows).completion == "2"
    with pytest.raises(BadRow, match=r"hub:acme/sums\?revision=abc&split=train: row 2: field `solution`"):
        next(rows)
    assert data_identity([source])[0]["path"] == "hub:acme/sums?revision=abc&split=train"
    with pytest.raises(BadRequest, match="could not be loaded from the hub"):
        list(read(Source.model_validate("hub:acme/sums?revision=abc&split=test"), Method.SFT))


def dataset(folder: Path, entry: dict[str, Any], rows: object) -> Source:
    """A data set `d` as LLaMA-Factory has it."""
    write_json(folder / "rows.json", rows)
    write_json(folder / "dataset_info.json", {"d": {"file_name": "rows.json", **entry}})
    return Source(dataset="d", dataset_dir=folder)


SHARE = {"formatting": "sharegpt"}
OPENAI_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
TURNS = [{"from": "human", "value": "Hi"}]


@pytest.mark.parametrize(
    ("entry", "row", "method", "expected"),
    [
        ({}, {"instruction": "Hi", "output": "Hello"}, Method.SFT, ((ASK,), "Hello", None)),
        ({"columns": {"prompt": "q", "response": "a"}}, {"q": "Hi", "a": "Hello", "input": "x"}, Method.SFT, ((ASK,), "Hello", None)),
        (
            {"columns": {"prompt": "q", "query": "more", "response": "a", "system": "s"}},
            {"q": "Hi", "more": "you", "a": "Hello", "s": "Be kind."},
            Method.SFT,
            (({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi\n\nyou"}), "Hello", None),
        ),
        (SHARE, {"conversations": [*TURNS, {"from": "gpt", "value": "Hello"}]}, Method.SFT, ((ASK,), "Hello", None)),
        (
            {**SHARE, "columns": {"messages": "chat"}, "tags": OPENAI_TAGS},
            {"chat": [ASK, SAY]},
            Method.SFT,
            ((ASK,), "Hello", None),
        ),
        (
            {"ranking": True, "columns": {"prompt": "q", "chosen": "good", "rejected": "bad"}},
            {"q": "Hi", "good": "Hello", "bad": "No"},
            Method.DPO,
            ((ASK,), "Hello", "No"),
        ),
        (
            {**SHARE, "ranking": True, "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}},
            {"conversations": TURNS, "chosen": {"from": "gpt", "value": "Hello"}, "rejected": {"from": "gpt", "value": "No"}},
            Method.DPO,
            ((ASK,), "Hello", "No"),
        ),
    ],
)
def test_an_entry_of_dataset_info(tmp_path: Path, entry: dict[str, Any], row: dict[str, Any], method: Method, expected: Any) -> None:
    (example,) = read(dataset(tmp_path, entry, [row]), method)
    assert (example.prompt, example.completion, example.rejected) == expected


def test_published_critiques_under_an_entry_are_critiques(tmp_path: Path) -> None:
    row = {"q": "Question:\n1+1?\n\nSolution:\n2", "a": "Critique:\nFine.\n\nConclusion: right [END]", "i": "Please critique."}
    source = dataset(tmp_path, {"columns": {"prompt": "i", "query": "q", "response": "a"}}, [row])
    (example,) = read(source, Method.CFT)
    assert example.prompt == prompts.critique_messages("1+1?", "2")


@pytest.mark.parametrize(
    ("entry", "row", "says"),
    [
        ({"columns": {"prompt": "q", "response": "a"}}, {"q": "Hi"}, r"rows\.json: row 1: field `a`: is missing; the row has 'q'"),
        (SHARE, {"conversations": [{"from": "observation", "value": "x"}]}, r"row 1: field `conversations\[0\]\.from`: expected one of"),
        ({"formatting": "csv"}, {}, r"dataset_info\.json: d: field `formatting`: expected one of alpaca, sharegpt, found 'csv'"),
        ({"columns": {"images": "i"}}, {}, r"d: field `columns\.images`: expected one of"),
        ({"columns": {"prompt": "q"}}, {}, r"d: field `columns`: expected the column of `output`"),
        ({"ranking": True}, {}, r"expected the column of `chosen`"),
        ({"num_samples": 5}, {}, r"d: field `num_samples`"),
        ({"file_name": "x.txt"}, {}, r"d: field `file_name`: expected a file"),
        ({"file_name": None, "script_url": "x"}, {}, r"d: field `file_name`: is missing"),
        ({"tags": {"role_tag": 3}, **SHARE}, {}, r"d: field `tags`: expected an object of texts"),
    ],
)
def test_what_an_entry_has_wrong(tmp_path: Path, entry: dict[str, Any], row: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        list(read(dataset(tmp_path, entry, [row]), Method.SFT))


def test_an_entry_that_is_not_there(tmp_path: Path) -> None:
    dataset(tmp_path, {}, [])
    with pytest.raises(BadConfig, match=r"dataset_info\.json: field `e`: expected an entry of that name, found d"):
        list(read(Source(dataset="e", dataset_dir=tmp_path), Method.SFT))
    with pytest.raises(BadConfig, match="`dataset_dir` is the folder it lies in"):
        list(read(Source(dataset="d", dataset_dir=tmp_path / "none"), Method.SFT))


def test_another_spelling_of_the_same_rows_is_another_run(tmp_path: Path) -> None:
    rows = [{"a": "1", "b": "2"}]
    one = data_identity([dataset(tmp_path, {"columns": {"prompt": "a", "response": "b"}}, rows)])
    other = data_identity([dataset(tmp_path, {"columns": {"prompt": "b", "response": "a"}}, rows)])
    assert one[0]["sha256"] == other[0]["sha256"]
    assert one[0]["layout_sha256"] != other[0]["layout_sha256"]


@pytest.mark.parametrize("value", [{}, {"path": "a.jsonl", "dataset": "d"}, {"path": "a.jsonl", "hub": "hub:a/b?revision=c"}])
def test_a_source_has_one_place(value: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected one of `path`, `hub` and `dataset`"):
        Source.model_validate(value)
