"""Exact arithmetic, its limits, and the finding of equations in prose."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from trainer.algebra.equations import Known, find
from trainer.algebra.exact import Unreadable, Value, read, write
from trainer.algebra.problems import solve
from trainer.teachers.judge import Key, judge


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3 + 4 * 2", 11),
        ("(3 + 4) * 2", 14),
        ("2(3+4)", 14),
        ("-3 - -4", 1),
        ("1,234 + 1", 1235),
        (r"\frac{12}{18}", Fraction(2, 3)),
        (r"\frac{1}{2} \times 3 \div 4", Fraction(3, 8)),
        ("20% * 50", 10),
        ("2^3^2", 512),
        ("-2^2", -4),
        ("2**3", 8),
        ("0.1 + 0.2", Fraction(3, 10)),
        ("gcd(12, 18) * lcm(4, 6)", 72),
        ("$3 + $4", 7),
    ],
)
def test_expressions_are_exact(text: str, value: int | Fraction) -> None:
    assert read(text).value == Value(Fraction(value))


def test_linear_forms() -> None:
    assert read("3x + 4 - x(2 - 1)", "x").value == Value(Fraction(4), Fraction(2))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3 +",
        "2 3",
        "a + 1",
        "1/0",
        "x * x",
        "2^99",
        "9^12^12",
        "2^0.5",
        "gcd(12,180)",
        "(" * 50 + "1" + ")" * 50,
        "1" * 5000,
        "9" * 39 + " * 99",
    ],
)
def test_what_cannot_be_read_or_grows_too_large_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text, "x")


def test_work_reads_back_true() -> None:
    work = read("-5 * (3 - 7) / 6 + (1/2)^2").work
    assert work[-1].endswith("= 43/12")
    for line in work:
        left, right = line.split(" = ")
        assert read(left).value == read(right).value


def test_numbers_are_written_as_people_do() -> None:
    assert [write(Fraction(7)), write(Fraction(-7, 2)), write(Fraction(-7, 2), decimal=True)] == ["7", "-7/2", "-3.5"]
    assert [write(Fraction(1, 20), decimal=True), write(Fraction(1, 3), decimal=True)] == ["0.05", "1/3"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("She sold 48/2 = 24 clips in May. She sold 48+24 = 72 clips.", "48/2 = 24 holds; 48+24 = 72 holds"),
        ("Step 1: 3 + 4 = 7\nStep 2: 7 * 2 = 15.", "3 + 4 = 7 holds; 7 * 2 = 15 false"),
        ("48/2 = <<48/2=25>>25 clips", "48/2 = 25 false"),
        ("3+4+5\n= 7 + 5\n= 13", "3+4+5 = 7 + 5 holds; 7 + 5 = 13 false"),
        ("The total is $12 * 3 = \\boxed{37}$", "12 * 3 = 37 false"),
        ("\\[ 3 \\times 4 = 13 \\]", "3 \\times 4 = 13 false"),
        ("12 × 3 = 36 dollars, 36 + 4 = 41.", "12 × 3 = 36 holds; 36 + 4 = 41 false"),
        ("1) 3+4=8", "3+4 = 8 false"),
        ("3 x 4 = 12", "3 × 4 = 12 holds"),
        ("**3 + 4 = 8**", "3 + 4 = 8 false"),
        ("5 apples + 3 apples = 9 apples", "5 + 3 = 9 false"),
    ],
)
def test_equations_are_found_and_judged(text: str, found: str) -> None:
    assert "; ".join(f"{equation.text} {equation.truth}" for equation in find(text)) == found


@pytest.mark.parametrize(
    "text",
    [
        "3 feet = 36 inches",
        "1 hour + 30 minutes = 90 minutes",
        "half of 12 = 6",
        "20% of 50 = 10",
        "twice 3 + 4 = 10",
        "10/3 = 3.33",
        "2/3 = 0.66",
        "3/4 * 100 = 75%",
        "- 3 + 4 = 7",
        "f(3) = 9",
        "√16 + 3 = 7",
        "\\sqrt{16} + 3 = 7",
        "7/2 = 3 remainder 1",
        "60 / 40 = 1 hour 30 minutes",
        "3 * 2 = 3!",
        "2 dozen = 24 eggs",
        "x = 5",
        "12/5 = 2 and 2/5",
        "a result * 3 = 12",
        "5 * 60 = 3 hundred",
    ],
)
def test_an_equation_with_another_reading_is_never_called_false(text: str) -> None:
    assert "false" not in [equation.truth for equation in find(text)]


def test_equations_with_the_problems_variable_are_judged_by_its_root() -> None:
    known = Known("x", Fraction(5))
    text = "3x + 4 = 19\n3x = 19 - 4 = 15\nx = 15/3 = 5\n3x = 16"
    assert [equation.truth for equation in find(text, known)] == ["holds"] * 5 + ["false"]


def test_where_points_at_the_equation() -> None:
    text = "First 1 + 1 = 2, then 2 apples + 3 apples = 5 apples + 1 apples = 7."
    assert [text[equation.where :].lstrip()[:7] for equation in find(text)] == ["1 + 1 =", "2 apple", "5 apple"]


def test_no_text_breaks_the_reading_of_it() -> None:
    chance = random.Random(4)
    pieces = [*"0123456789=+-*/^(){}., x\\$%\n!?;:ab√≈", "\\frac", "\\boxed{", "gcd(", " = ", "1", "**", "Step 1: "]
    for _ in range(400):
        text = "".join(chance.choice(pieces) for _ in range(chance.randint(1, 60)))
        find(text, Known("x", Fraction(3)))
        solve(text)
        judge(text, text, "5", Key("5", text))


@pytest.mark.parametrize(
    ("problem", "answer"),
    [
        ("State the final answer to the following arithmetic problem: 4 + 3 - 2 =", 5),
        ("Calculate 7 - ((-4) - 3).", 14),
        ("Find the value of w in the equation: 54*w + 14 = 1094", 20),
        ("Solve for x: 3x + 4 = x - 10.", -7),
        ("Find the Greatest Common Divisor (GCD) of these numbers: 688, 716.", 4),
        ("What is the least common multiple of 4 and 6?", 12),
        ("Simplify the fraction \\frac{92}{524} to its lowest terms.", Fraction(23, 131)),
    ],
)
def test_problems_that_state_all_are_solved(problem: str, answer: int | Fraction) -> None:
    solved = solve(problem)
    assert solved is not None
    assert solved.answer == answer
    assert all(equation.truth == "holds" for line in solved.work for equation in find(line, solved.known))


@pytest.mark.parametrize(
    "problem",
    [
        "Ada has 3 apples and gets 4 more. How many?",
        "What is 10% of 50?",
        "What is the remainder of 7 / 2?",
        "A train rides 3 hours at 40 km per hour.",
        "Compute 3 + 4 and 5 + 6.",
    ],
)
def test_other_problems_are_not(problem: str) -> None:
    assert solve(problem) is None
