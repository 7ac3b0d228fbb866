"""Graders of texts and answers, on outputs whose score is known."""

from __future__ import annotations

from typing import Any

import pytest

from evalsuite.graders import Fault, GraderFailed, Sample, grade, parse


def value(raw: dict[str, Any], sample: Sample | str, gold: str = "4") -> float:
    sample = Sample(sample) if isinstance(sample, str) else sample
    return grade(parse({"name": "g", **raw}), sample, {"gold": gold}).value


@pytest.mark.parametrize(
    ("operation", "found", "score"),
    [
        ("eq", "Paris", 1),
        ("eq", "paris", 0),
        ("ne", "paris", 1),
        ("ne", "Paris", 0),
        ("like", "It is Paris.", 1),
        ("like", "It is PARIS.", 0),
        ("ilike", "It is PARIS.", 1),
        ("ilike", "It is Rome.", 0),
    ],
)
def test_string_check(operation: str, found: str, score: float) -> None:
    raw = {"type": "string_check", "operation": operation, "input": "{{ sample.output_text }}", "reference": "{{ item.gold }}"}
    assert value(raw, found, "Paris") == score


SIMILAR = {"type": "text_similarity", "input": "{{ sample.output_text }}", "reference": "{{ item.gold }}"}
METRICS = ("fuzzy_match", "bleu", "gleu", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l")


@pytest.mark.parametrize("metric", METRICS)
def test_similarity_orders_texts(metric: str) -> None:
    raw = {**SIMILAR, "evaluation_metric": metric}
    gold = "the cat sat on the mat by the door"
    same, near, far = value(raw, gold, gold), value(raw, "the cat sat on the mat by a window", gold), value(raw, "qqq zz", gold)
    assert same == pytest.approx(1.0)
    assert 0 < near < 1
    assert far < near
    assert value(raw, "", gold) == 0.0


@pytest.mark.parametrize(
    ("metric", "score"),
    [("fuzzy_match", 2 / 3), ("rouge_1", 2 / 3), ("rouge_2", 0.0), ("rouge_l", 2 / 3), ("gleu", 2 / 6)],
)
def test_similarity_is_the_known_measure(metric: str, score: float) -> None:
    """Two of three words in common, none side by side; `fuzzy_match` on three letters, of which two are."""
    found, gold = ("abc", "abd") if metric == "fuzzy_match" else ("one big cat", "one red cat")
    assert value({**SIMILAR, "evaluation_metric": metric}, found, gold) == pytest.approx(score)


@pytest.mark.parametrize(
    ("found", "boxed", "score"),
    [
        ("So \\boxed{\\frac{8}{2}}.", False, 1),
        ("The answer is 4.", False, 1),
        ("The answer is 4.", True, 0),
        ("So \\boxed{4}.", True, 1),
        ("So \\boxed{5}.", False, 0),
        ("I do not know.", False, 0),
        ("", False, 0),
    ],
)
def test_math_equal(found: str, boxed: bool, score: float) -> None:
    assert value({"type": "math_equal", "box_required": boxed}, found) == score


@pytest.mark.parametrize(
    ("candidates", "found", "score"),
    [
        ("boxed", "First \\boxed{4}, else \\boxed{5}", 1.0),
        ("boxed", "First \\boxed{5}, else \\boxed{8/2}", 0.7),
        ("boxed", "\\boxed{5}, \\boxed{5}, \\boxed{4}", 0.7),
        ("boxed", "\\boxed{1} \\boxed{2} \\boxed{3} \\boxed{5} \\boxed{6} \\boxed{4}", 0.0),
        ("boxed", "4", 0.0),
        ("lines", "1. 5\n2. 4\n", 0.7),
        ("lines", "- 6\n\n- 5\n- 4", 0.4),
        ("json", '["5", 4]', 0.7),
        ("json", '{"4": 1}', 0.0),
        ("json", "[" * 100_000, 0.0),
        ("json", "[" + "1" * 5_000 + "]", 0.0),
    ],
)
def test_rank_scores_by_place(candidates: str, found: str, score: float) -> None:
    assert value({"type": "rank", "candidates": candidates}, found) == score


def test_rank_compares_texts_and_takes_own_weights() -> None:
    raw = {"type": "rank", "candidates": "lines", "compare": "text", "weights": [1.0, 0.2]}
    assert value(raw, "Rome\nparis\n", "Paris") == 0.2
    assert value(raw, "Rome\nBerlin\nParis\n", "Paris") == 0.0


@pytest.mark.parametrize(
    ("found", "reason", "score"),
    [
        ("\\boxed{4}", "stop", 1),
        ("\\boxed{4}", "length", 0),
        ("\\boxed{}", "stop", 0),
        ("\\boxed{4", "stop", 0),
        ("\\boxed{\\{4\\}}", "stop", 1),
        ("4", "stop", 0),
    ],
)
def test_format(found: str, reason: str, score: float) -> None:
    assert value({"type": "format"}, Sample(found, reason)) == score


def test_format_asks_only_for_what_it_is_told_to() -> None:
    assert value({"type": "format", "boxed": False}, Sample("4", "stop")) == 1
    assert value({"type": "format", "ended": False}, Sample("\\boxed{4}", "length")) == 1


@pytest.mark.parametrize(("size", "score"), [(0, 1), (10, 1), (15, 0.5), (20, 0), (99, 0)])
def test_length_falls_in_a_line(size: int, score: float) -> None:
    bounds = {"type": "length", "full": 10, "zero": 20}
    assert value(bounds, Sample("", None, size)) == score
    assert value({**bounds, "unit": "characters"}, "x" * size) == score


@pytest.mark.parametrize("raw", [{"type": "format"}, {"type": "length", "full": 1, "zero": 2}])
def test_what_nobody_knows_is_a_failure(raw: dict[str, Any]) -> None:
    with pytest.raises(GraderFailed) as caught:
        value(raw, "x")
    assert caught.value.fault is Fault.UNKNOWN
