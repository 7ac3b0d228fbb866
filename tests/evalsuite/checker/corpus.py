"""Hostile predictions: what a model, or somebody who writes for one, might put where an answer belongs. None is an answer."""

from collections.abc import Iterator
from pathlib import Path

GOLDS = ["41", "\\frac{1}{2}", "x+1", "(1,2)", "\\text{Evelyn}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "x>3", "\\{1,2\\}"]


def code(mark: Path) -> Iterator[str]:
    """Strings that would create the file `mark`, or reach the interpreter, if anything evaluated them."""
    touch = f"__import__('os').system('touch {mark}')"
    yield from (touch, f"\\boxed{{{touch}}}", f"\\text{{{touch}}}", f"${touch}$", f"41 if {touch} else 41", f"[{touch} for i in [1]]")
    yield from (f"exec(\"open('{mark}','w')\")", f"open('{mark}','w')", f"eval('{touch}')", f"lambda: {touch}", f'S("{touch}")')
    yield from (f"sympify('{touch}')", f"\\write18{{touch {mark}}}", f"\\input{{{mark}}}", f"Symbol('x').func({touch})", f"{{{{{touch}}}}}")
    yield from ("().__class__.__bases__[0].__subclasses__()", "x.__class__.__mro__", "globals()['__builtins__']", "breakpoint()", "exit()")
    yield from ("Integer(10)**Integer(10)**10", "print(41)", "f'{41}'", "41; import os", "getattr(int,'real')", "Lambda(x, x)(41)")
    yield from (
        "\\def\\x{\\x\\x}\\x",
        "\\newcommand{\\a}{\\a\\a}\\a",
        "\\catcode`\\@=11",
        "%(41)s",
        "'; DROP TABLE x",
        "<script>41</script>",
    )


def large() -> Iterator[str]:
    """Arithmetic that must not be done and text that must not be searched twice."""
    yield from (
        "9**9**9**9",
        "9^9^9^9",
        "9^{9^{9^{9}}}",
        "10^{10^{10^{10}}}",
        "2^{2^{2^{2^{2^{2}}}}}",
        "\\sqrt{2}^{\\sqrt{2}^{\\sqrt{2}^{9999}}}",
    )
    yield from ("1000000!", "((((9!)!)!)!)", "99999999999!", "\\binom{1000000000}{500000000}", "factorial(10**9)", "!!!!41", "41!!!!!!!!")
    yield from ("(x+1)^{100000}", "(a+b+c+d+e+f+g+h)^{60}", "(1+x+y+z)^{64}(1-x+y-z)^{64}", "(((x^{50}+1)^{50}+1)^{50}+1)^{50}")
    yield from ("1e999999999", "10^{-999999999}", "5e-1000000000", "\\sqrt[99999999]{5}", "\\sqrt[10^{10}]{5}", "\\sin(10^{300})")
    yield from (
        "\\log(\\log(\\log(\\log(2))))",
        "\\Gamma(10^{9})",
        "\\sum_{k=1}^{10^{12}} k",
        "\\prod_{k=1}^{100000000} k",
        "7^{7^{7}} \\mod 10",
    )
    yield from ("\\int_0^{\\infty} e^{x^{x^x}} dx", "\\lim_{x\\to 0} x^{x^{x^x}}", "x^{x^{x^{x^{x^{x}}}}}", "\\prod_{i=1}^{50}(x_i+1)")
    yield "".join(f"(x_{{{i}}}+1)" for i in range(40))
    yield from (
        "\\sqrt{" * 40 + "2" + "}" * 40,
        "\\frac{1}{" * 46 + "3" + "}" * 46,
        "2^{" * 47 + "2" + "}" * 47,
        "\\pm 1 " * 30,
        "\\pm" * 500 + "1",
    )
    yield from ("(" * 10_000 + "5" + ")" * 10_000, "{" * 100_000, "\\frac{" * 50_000, "[" * 5_000 + "1" + "]" * 5_000, "\\left(" * 9_000)
    yield from (
        "\\boxed{" * 20_000 + "5",
        "\\boxed{" * 20_000,
        "\\boxed{1}\n" * 40_000,
        "-" * 100_000 + "5",
        "+".join(["1"] * 100_000),
        "1," * 50_000,
    )
    yield from ("9" * 1_000_000, "0." + "1" * 1_000_000, "a" * 1_000_000, " " * 1_000_000, "$" * 1_000_000, "\\" * 1_000_000, "|" * 100_000)
    yield from (
        "\\boxed{" + "9" * 1_000_000 + "}",
        "\\begin{pmatrix}" + "1&" * 5_000 + "1\\end{pmatrix}",
        "\\begin{pmatrix}" * 100,
        "x_{" * 3_000,
    )


def bait() -> Iterator[str]:
    """Text on which a pattern with nested repetition would take for ever."""
    yield from (
        "(a|a)*" * 500 + "b",
        "a" * 50 + "!",
        "the answer is " * 20_000,
        "\\boxed{5} and " * 50_000 + "\\boxed{6}",
        "Therefore $x$ " * 50_000,
    )
    yield from (
        "is " * 100_000,
        ". " * 200_000,
        "1. " * 200_000,
        "\n" * 500_000,
        "\\text{and}" * 20_000,
        "and " * 100_000,
        "answer is " * 60_000 + "x",
    )
    yield from ("$x$ " * 90_000, "1 " * 100_000, "1,000," * 90_000, "\\, " * 100_000, "<|" * 100_000, "</think>" * 50_000, "=\n" * 100_000)
    yield from ("answer" + " " * 300_000 + "is", "x =" * 100_000, "- " * 100_000 + "1", "answer: " * 50_000, "\\boxed{x} , " * 30_000)


def odd() -> Iterator[str]:
    """Characters and fragments: digits that are not ASCII, control characters, surrogates, broken LaTeX."""
    yield from (
        "４１",
        "٤١",
        "४१",
        "41\x00",
        "\x0041",
        "4\x001",
        "\u202e14",
        "4\u200d1",
        "⁴¹",
        "₄₁",
        "𝟒𝟏",
        "④①",
        "4̸1",
        "\ud800",
        "\uffff",
        "41\x1b[31m",
        "四十一",
    )
    yield from (
        "NaN",
        "nan",
        "inf",
        "-inf",
        "None",
        "null",
        "",
        "   ",
        "\t\n",
        "$",
        "$$",
        "\\",
        "\\\\",
        "{",
        "}",
        "{}",
        "()",
        "[]",
        "\\boxed{}",
        "\\boxed",
    )
    yield from (
        "\\boxed{",
        "\\boxed{ }",
        "\\frac",
        "\\frac{41}",
        "\\frac{41}{",
        "\\frac{41}{0}",
        "41/0",
        "0/0",
        "0^0",
        "0^{-1}",
        "\\sqrt",
        "\\sqrt{",
        "^",
        "_",
    )
    yield from (
        "41^",
        "^41",
        "41__41",
        "&",
        "\\begin{pmatrix}\\end{pmatrix}",
        "\\begin{}",
        "\\end{pmatrix}",
        "\\left",
        "\\right)",
        "(41",
        "41)",
        "|41",
        "||41|",
    )
    yield from (
        "41=",
        "=",
        "=41=42",
        "41=42",
        "41<",
        "41≠42",
        "and",
        "or or",
        ", , ,",
        "41,,42",
        "41::42",
        ":",
        "%",
        "%%",
        "°",
        "\\circ",
        "\\text{",
        "\\text{}",
    )
    yield from (
        "The answer is",
        "The answer is:",
        "The answer is .",
        "####",
        "#### ",
        "Answer:",
        "I don't know the answer.",
        "I cannot solve 41 problems.",
    )
    yield from (
        "\\log_{0}{5}",
        "\\log_{1}{5}",
        "\\tan 90^\\circ",
        "\\begin{pmatrix}1&2\\\\3\\end{pmatrix}",
        "\\sqrt[0]{2}",
        "\\binom{2}{-1}",
        "\\frac{}{}",
        "1_2_3",
    )
