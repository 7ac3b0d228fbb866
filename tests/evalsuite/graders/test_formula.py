"""Formulas: the arithmetic that is allowed, and that nothing else is."""

from __future__ import annotations

import pytest

from evalsuite.graders import Fault, GraderFailed, Sample, grade, parse
from evalsuite.graders.formula import NoResultError, evaluate, names

SCORES = {"a": 0.5, "b": 0.25}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 0.5),
        ("0.7*a + 0.3 * b", 0.425),
        ("a + b ^ 2", 0.5625),
        ("-a ^ 2", -0.25),
        ("2 ^ 3 ^ 2 / 1024", 0.5),
        ("min(a, b, 1) + max(a, b)", 0.75),
        ("abs(b - a) - floor(a) + ceil(b)", 1.25),
        ("exp(0) + sqrt(b) + log(1)", 1.5),
        (" +a / -2 ", -0.25),
    ],
)
def test_a_formula_has_its_value(text: str, value: float) -> None:
    assert names(text) <= SCORES.keys() | set()
    assert evaluate(text, SCORES) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.real",
        "a[0]",
        "[a for a in b]",
        "(lambda: a)()",
        "a if b else 1",
        "a < b",
        "a and b",
        "'a'",
        "True",
        "1j",
        "open(a)",
        "max(a)",
        "sqrt(a, b)",
        "sqrt(x=a)",
        "max(*a)",
        "a ** b",
        "a // b",
        "a | b",
        "a; b",
        "a = b",
        "",
        "a +",
        "\0",
        "(" * 300 + "a" + ")" * 300,
        "a + " * 300 + "a",
    ],
)
def test_nothing_else_is_a_formula(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|not a formula"):
        names(text)


@pytest.mark.parametrize("text", ["a / (a - a)", "sqrt(-a)", "log(0)", "(-a) ^ a", "exp(1000)", "10 ^ 10 ^ 10", "1e308 * 10"])
def test_arithmetic_without_a_result_is_said(text: str) -> None:
    names(text)
    with pytest.raises(NoResultError):
        evaluate(text, SCORES)


def multi(formula: str) -> dict[str, object]:
    return {
        "type": "multi",
        "name": "mix",
        "graders": {
            "right": {"type": "math_equal", "name": "right"},
            "short": {"type": "length", "name": "short", "full": 5, "zero": 25, "unit": "characters"},
        },
        "calculate_output": formula,
    }


def test_a_multi_grader_computes_from_its_parts() -> None:
    score = grade(parse(multi("0.8 * right + 0.2 * short")), Sample("It is \\boxed{4}"), {"gold": "4"})
    assert score.parts == {"right": 1.0, "short": 0.5}
    assert score.value == pytest.approx(0.9)


@pytest.mark.parametrize(("formula", "fault"), [("right / (short - short)", Fault.FORMULA), ("right + short", Fault.OUT_OF_RANGE)])
def test_a_formula_that_leaves_the_range_is_a_failure(formula: str, fault: Fault) -> None:
    with pytest.raises(GraderFailed) as caught:
        grade(parse(multi(formula)), Sample("\\boxed{4}"), {"gold": "4"})
    assert caught.value.fault is fault
