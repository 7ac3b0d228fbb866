"""Properties over generated answers: sound respellings stay equal, perturbations do not, and order does not matter."""

from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evalsuite.checker import check, extract, is_equal

settings.register_profile("checker", deadline=None, max_examples=120)
settings.load_profile("checker")

integers = st.integers(-(10**12), 10**12)
small = st.integers(-30, 30)
positive = st.integers(1, 60)
fractions = st.fractions(min_value=-1000, max_value=1000, max_denominator=997)
decimals = st.decimals(min_value=-10_000, max_value=10_000, places=3, allow_nan=False, allow_infinity=False)
text = st.text(max_size=60)
FRAGMENTS = [
    "\\frac",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "1",
    "2",
    "x",
    "+",
    "-",
    "^",
    "_",
    ",",
    "\\sqrt",
    "\\pm",
    "=",
    "<",
    "$",
    "\\text{a}",
    "\\boxed",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "\\\\",
    "&",
    "!",
    "|",
    "\\infty",
    "\\cup",
    "%",
    ":",
    ".",
    "\\left",
    "\\pi",
    "e",
    "i",
]  # read beside each other
latex = st.lists(st.sampled_from([*FRAGMENTS, " "]), max_size=14).map("".join)


def frac(value: Fraction) -> str:
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def both(gold: str, pred: str) -> bool:
    """The verdict, which must not depend on direction."""
    verdict = is_equal(gold, pred)
    assert is_equal(pred, gold) is verdict
    return verdict


@given(integers)
def test_spellings_of_an_integer(value: int) -> None:
    for spelling in (
        f"{value:,}",
        f"{value}.0",
        f"${value}$",
        f"\\boxed{{{value}}}",
        f"x={value}",
        f"({value})",
        f"{value}\\text{{ cm}}",
        f"{value:,}".replace(",", "{,}"),
    ):
        assert both(str(value), spelling)


@given(integers, st.sampled_from([1, -1, 10, 1000]))
def test_another_integer_is_unequal(value: int, step: int) -> None:
    assert not both(str(value), str(value + step))
    assert not both(str(value), f"{value}.0001")


@given(fractions)
def test_spellings_of_a_fraction(value: Fraction) -> None:
    gold = frac(value)
    spellings = [
        f"{value.numerator}/{value.denominator}",
        frac(value * 1).replace("frac", "dfrac"),
        f"\\frac{{{3 * value.numerator}}}{{{3 * value.denominator}}}",
    ]
    spellings.append(f"-\\frac{{{-value.numerator}}}{{{value.denominator}}}")
    if abs(value) > 1 and value.denominator > 1:
        whole, rest = divmod(abs(value.numerator), value.denominator)
        spellings.append(f"{'-' if value < 0 else ''}{whole}\\frac{{{rest}}}{{{value.denominator}}}")
    for spelling in spellings:
        assert both(gold, spelling), spelling


@given(fractions, fractions)
def test_fractions_are_equal_only_when_they_are(first: Fraction, second: Fraction) -> None:
    assert both(frac(first), frac(second)) is (first == second)


@given(decimals)
def test_a_decimal_is_its_fraction_and_its_percentage(value: object) -> None:
    exact = Fraction(str(value))
    assert both(str(value), frac(exact))
    assert both(
        str(value),
        f"{exact.numerator * 100}/{exact.denominator}\\%"
        if exact.denominator == 1
        else f"{Fraction(exact * 100).limit_denominator(10**6)}\\%",
    )


@given(positive, positive, positive)
def test_radicals(outer: int, inner: int, other: int) -> None:
    assert both(f"\\sqrt{{{outer * outer * inner}}}", f"{outer}\\sqrt{{{inner}}}")
    assert both(f"\\frac{{{outer}}}{{\\sqrt{{{inner}}}}}", f"\\frac{{{outer}\\sqrt{{{inner}}}}}{{{inner}}}")
    assert both(f"\\sqrt{{{inner}}}", f"\\sqrt{{{other}}}") is (inner == other)
    assert not both(f"{outer}+\\sqrt{{{inner * inner + 1}}}", f"{outer}-\\sqrt{{{inner * inner + 1}}}")


@given(small, small, small, small)
def test_polynomials(a: int, b: int, c: int, d: int) -> None:
    factored = f"({a}x+{b})({c}x+{d})".replace("+-", "-")
    expanded = f"{a * c}x^2+{a * d + b * c}x+{b * d}".replace("+-", "-")
    assert both(factored, expanded)
    assert not both(factored, expanded + "+1")
    assert both(f"y={factored}", f"y={expanded}")


@given(st.lists(small, min_size=2, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_lists_sets_and_points(values: list[int], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = ", ".join(map(str, values)), ", ".join(map(str, shuffled))
    assert both(one, other)
    assert both(f"\\{{{one}\\}}", f"\\{{{other}\\}}")
    assert both(f"({one})", f"({other})") is (values == shuffled)
    assert not both(one, ", ".join(map(str, values[:-1])))
    assert not both(f"\\{{{one}\\}}", f"({one})")
    assert not both(f"({one})", f"[{one}]")


@given(small, positive, st.sampled_from(["()", "[]", "(]", "[)"]))
def test_intervals(low: int, width: int, brackets: str) -> None:
    high = low + width
    gold = f"{brackets[0]}{low},{high}{brackets[1]}"
    left, right = "\\le" if brackets[0] == "[" else "<", "\\le" if brackets[1] == "]" else "<"
    assert both(gold, f"\\left{brackets[0]} {low}, {high} \\right{brackets[1]}")
    assert both(gold, f"x \\in {gold}")
    assert both(f"x \\in {gold}", f"{low} {left} x {right} {high}")
    assert not both(gold, f"{brackets[0]}{low},{high + 1}{brackets[1]}")
    for other in {"()", "[]", "(]", "[)"} - {brackets}:
        assert not both(gold, f"{other[0]}{low},{high}{other[1]}")


@given(st.integers(2, 9), st.integers(1, 10**6))
def test_numerals_keep_their_base(base: int, value: int) -> None:
    digits = ""
    rest = value
    while rest:
        rest, digit = divmod(rest, base)
        digits = str(digit) + digits
    assert both(f"{digits}_{base}", f"{digits}_{{{base}}}")
    assert not both(f"{digits}_{base}", digits)
    assert not both(f"{digits}_{base}", f"{digits}_{base + 1}")


@given(small, positive)
def test_plus_minus(center: int, square: int) -> None:
    assume(int(square**0.5) ** 2 != square)
    gold = f"{center}\\pm\\sqrt{{{square}}}"
    assert both(gold, f"{center}-\\sqrt{{{square}}}, {center}+\\sqrt{{{square}}}")
    assert not both(gold, f"{center}+\\sqrt{{{square}}}")


@given(
    small, st.sampled_from(["cm", "m", "hours", "dollars", "miles", "kg"]), st.sampled_from(["cm", "m", "hours", "dollars", "miles", "kg"])
)
def test_units(value: int, unit: str, other: str) -> None:
    assert both(f"{value}\\text{{ {unit}}}", str(value))
    assert both(f"{value}\\text{{ {unit}}}", f"{value} \\text{{{other}}}") is (unit == other)


@given(text)
def test_any_text_is_handled(value: str) -> None:
    extract(value)
    assert check("\\frac{355}{113}", value).equal in (True, False)
    verdict = check(value, value)
    assert verdict.seconds >= 0


@settings(max_examples=400, deadline=None)
@given(latex, latex)
def test_any_latex_is_handled_and_symmetric_when_exact(first: str, second: str) -> None:
    one, other = check(first, second), check(second, first)
    if one.gold_value == other.pred_value and one.pred_value == other.gold_value and "." not in first + second:
        assert one.equal is other.equal
