"""Problems that can be solved from their text alone: an expression, a linear equation, a gcd or lcm. Says None for all others."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from trainer.algebra.equations import Known
from trainer.algebra.exact import Reading, Unreadable, Value, read, write

NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])|(?<![\w.])\d{1,3}(?:,\d{3})+(?![\w])")
GCD = re.compile(r"greatest common (?:divisor|factor)|highest common factor|\b(?:gcd|gcf|hcf)\b", re.IGNORECASE)
LCM = re.compile(r"least common multiple|lowest common multiple|\blcm\b", re.IGNORECASE)
EQUATION = re.compile(r"(?P<left>[^=:?\n]+)=(?P<right>[^=:?\n]+)")
EXPRESSION = re.compile(r"(?:[-−(]\s*)*\d[\d\s.,+\-−*/×·÷^()]*(?:\d|\)|%)|\\[dt]?frac\{\d+\}\{\d+\}")
MAX_WORDS = 40


@dataclass(frozen=True, slots=True)
class Solved:
    """A problem's answer, and the work that gives it. `known` is set for an equation."""

    answer: Fraction
    work: tuple[str, ...]
    known: Known | None = None


def solve(problem: str) -> Solved | None:
    """The exact answer of a problem whose text states all of it."""
    if len(problem.split()) > MAX_WORDS:
        return None
    for family in (_common, _linear, _expression):
        solved = family(problem)
        if solved is not None:
            return solved
    return None


def _common(problem: str) -> Solved | None:
    """gcd or lcm of all numbers in the text."""
    is_gcd, is_lcm = GCD.search(problem), LCM.search(problem)
    if bool(is_gcd) == bool(is_lcm):
        return None
    given = [int(text) for text in re.findall(r"\d+", problem)]
    if len(given) < 2 or any(len(str(value)) > 12 or value == 0 for value in given) or "." in "".join(NUMBER.findall(problem)):
        return None
    name = "gcd" if is_gcd else "lcm"
    answer = math.gcd(*given) if is_gcd else math.lcm(*given)
    work = [f"{name}({', '.join(map(str, given))}) = {answer}"]
    if is_gcd:
        work += [f"{value} = {answer} * {value // answer}" for value in given]
    return Solved(Fraction(answer), tuple(work))


def _linear(problem: str) -> Solved | None:
    """One equation in one letter."""
    found = [match for match in EQUATION.finditer(problem) if re.search(r"\d", match.group())]
    if len(found) != 1:
        return None
    for left in _endings(found[0]["left"]):
        for right in _beginnings(found[0]["right"]):
            letters = set(re.findall(r"[A-Za-z]+", left + right))
            if len(letters) == 1 and len(letter := letters.pop()) == 1:
                solved = _root(left, right, letter)
                if solved is not None:
                    return solved
    return None


def _endings(text: str) -> list[str]:
    """The text from each word on, longest first: prose before an expression is cut off word by word."""
    starts = [0, *(match.end() for match in re.finditer(r"[\s$]+", text))]
    return [text[start:].strip(" $") for start in starts if text[start:].strip(" $")]


def _beginnings(text: str) -> list[str]:
    ends = [len(text), *(match.start() for match in reversed(list(re.finditer(r"[\s$.,]+", text))))]
    return [text[:end].strip(" $.,") for end in ends if text[:end].strip(" $.,")]


def _root(left: str, right: str, letter: str) -> Solved | None:
    try:
        a, b = read(left, letter).value, read(right, letter).value
    except Unreadable:
        return None
    slope, constant = a.slope - b.slope, b.constant - a.constant
    if not slope:
        return None
    root = constant / slope
    return Solved(root, _isolate(a, b, letter, root), Known(letter, root))


def _isolate(a: Value, b: Value, letter: str, root: Fraction) -> tuple[str, ...]:
    """The steps from `a = b` to `letter = root`: constants to the right, letters to the left, then divide."""
    slope, constant = a.slope - b.slope, b.constant - a.constant
    work = []
    if a.constant:
        sign, amount = ("-", a.constant) if a.constant > 0 else ("+", -a.constant)
        work.append(f"{write(b.constant)} {sign} {write(amount)} = {write(constant)}")
    if a.constant or b.slope:
        work.append(f"{_times(slope, letter)} = {write(constant)}")
    if slope not in (1, 0):
        divisor = write(slope) if slope > 0 and slope.denominator == 1 else f"({write(slope)})"
        work.append(f"{letter} = {write(constant)} / {divisor}")
    return (*work, f"{letter} = {write(root)}")


def _times(slope: Fraction, letter: str) -> str:
    if slope in (1, -1):
        return letter if slope == 1 else f"-{letter}"
    return f"{write(slope)}{letter}" if slope.denominator == 1 else f"({write(slope)}){letter}"


def _expression(problem: str) -> Solved | None:
    """One expression that holds all the numbers of the text."""
    candidates = [match.group().strip() for match in EXPRESSION.finditer(problem)]
    readable = [(text, reading) for text in candidates if (reading := _reading(text)) is not None and reading.operators]
    if len(readable) != 1:
        return None
    text, reading = readable[0]
    rest = problem.replace(text, "", 1)
    if re.search(r"\d", rest) or re.search(r"\b(?:percent|remainder|square|root|times|half|twice|nearest|round\w*)\b", rest, re.IGNORECASE):
        return None
    return Solved(reading.value.constant, reading.work)


def _reading(text: str) -> Reading | None:
    try:
        return read(text)
    except Unreadable:
        return None
