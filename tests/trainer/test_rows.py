"""Every format becomes prompt and reply; every wrong row is named by file, line and field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redraft import prompts
from trainer.config import Format, Method, Source
from trainer.errors import BadRow
from trainer.rows import Example, read

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
