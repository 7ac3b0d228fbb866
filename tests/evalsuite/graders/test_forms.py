"""Grader objects: what is read, and what is refused with the field's name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalsuite.graders import InvalidGrader, MissingField, Sample, check_item, grade, load, parse, uses_model
from evalsuite.graders.template import checked, render

CHECK: dict[str, Any] = {
    "type": "string_check",
    "name": "same",
    "operation": "eq",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.gold }}",
}
JUDGE: dict[str, Any] = {"type": "score_model", "name": "judge", "model": "m", "input": [{"role": "user", "content": "?"}]}


def changed(**fields: Any) -> dict[str, Any]:
    return {**CHECK, **fields}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (changed(operation="is"), "operation"),
        (changed(colour="red"), "colour"),
        (changed(type="label_model"), "label_model"),
        (changed(input="{{ sample.text }}"), "a sample has output_text"),
        (changed(input="{{ answer }}"), "expected {{ sample.FIELD }}"),
        (changed(input="{{ item.gold }"), "not closed"),
        (changed(input="{{ item }}"), "expected {{ sample.FIELD }}"),
        (
            {"type": "text_similarity", "name": "n", "input": "a", "reference": "b", "evaluation_metric": "cosine"},
            "cosine needs an embedding model",
        ),
        ({"type": "text_similarity", "name": "n", "input": "a", "reference": "b", "evaluation_metric": "meteor"}, "meteor needs WordNet"),
        ({"type": "python", "name": "n", "source": "def grade(:"}, "not Python"),
        ({"type": "python", "name": "n", "source": "def score(sample, item): return 1"}, "expected a function `grade"),
        ({"type": "python", "name": "n", "source": "def grade(sample): return 1"}, "expected a function `grade"),
        ({**JUDGE, "range": [1, 0]}, "lower end first"),
        ({**JUDGE, "range": [1, 5]}, "scale it in the formula of a multi"),
        ({**JUDGE, "sampling_params": {"top_k": 5}}, "top_k"),
        ({"type": "rank", "name": "n", "weights": [0.5, 0.7]}, "none greater than the one before"),
        ({"type": "length", "name": "n", "full": 9, "zero": 9}, "expected more than full"),
        ({"type": "multi", "name": "n", "graders": {"a": CHECK}, "calculate_output": "a + b"}, "b: no grader has this name; there is a"),
        ({"type": "multi", "name": "n", "graders": {"a": CHECK, "b": CHECK}, "calculate_output": "a"}, "b is not used"),
        ({"type": "multi", "name": "n", "graders": {"max": CHECK}, "calculate_output": "max"}, "function of formulas"),
        ({"type": "multi", "name": "n", "graders": {"a b": CHECK}, "calculate_output": "1"}, "graders"),
        ([], "dictionary"),
    ],
)
def test_what_is_wrong_is_named(raw: object, says: str) -> None:
    with pytest.raises(InvalidGrader) as caught:
        parse(raw)
    assert says in caught.value.message


def test_a_grader_reads_back() -> None:
    raw = {"type": "multi", "name": "both", "graders": {"a": CHECK, "j": {**JUDGE, "range": [1, 5]}}, "calculate_output": "a * (j - 1) / 4"}
    grader = parse(raw)
    assert parse(json.loads(grader.model_dump_json())) == grader
    assert uses_model(grader)
    assert not uses_model(parse(CHECK))


def test_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "grader.json"
    with pytest.raises(InvalidGrader, match=r"grader\.json: no such file"):
        load(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InvalidGrader, match=r"grader\.json: not JSON"):
        load(path)
    path.write_text(json.dumps(changed(operation="is")), encoding="utf-8")
    with pytest.raises(InvalidGrader, match=r"grader\.json: .*operation"):
        load(path)
    path.write_text(json.dumps(CHECK), encoding="utf-8")
    assert load(path) == parse(CHECK)


def test_a_row_without_a_field_is_found_before_grading() -> None:
    check_item(parse(CHECK), {"gold": "4"})
    with pytest.raises(MissingField, match=r"item\.gold: is missing; there is 'answer'"):
        check_item(parse(CHECK), {"answer": "4"})
    with pytest.raises(MissingField, match="found null"):
        check_item(parse(CHECK), {"gold": None})
    with pytest.raises(MissingField, match=r"item\.gold"):
        grade(parse(CHECK), Sample("4"), {})


def test_templates_take_texts_as_they_are_and_other_values_as_json() -> None:
    item = {"text": "{{ item.gold }}", "gold": 4, "deep": {"list": ["a", {"b": True}]}}
    assert render("<{{ item.text }}|{{item.gold}}|{{ item.deep.list.1 }}>", Sample(""), item) == '<{{ item.gold }}|4|{"b": true}>'
    with pytest.raises(MissingField, match=r"item\.deep\.list\.2: is missing; there is a list of 2"):
        render("{{ item.deep.list.2.b }}", Sample(""), item)
    with pytest.raises(MissingField, match="found null"):
        render("{{ sample.finish_reason }}", Sample(""), item)
    assert checked(r"\frac{1}{\sqrt{2}}") == r"\frac{1}{\sqrt{2}}"


def test_graders_are_light_to_import() -> None:
    heavy = "{'torch', 'transformers', 'vllm', 'sympy', 'httpx', 'sacrebleu', 'rouge_score', 'nltk', 'rapidfuzz', 'numpy'}"
    code = f"import sys, evalsuite.graders; sys.exit(str({heavy} & sys.modules.keys()) if {heavy} & sys.modules.keys() else 0)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
