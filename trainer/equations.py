"""Finds the equations in a text that exact arithmetic can judge: `a op b = c`, chains of them, and linear ones whose root is known.

The rule is to be silent rather than wrong: an equation is called false only if no other reading of its surroundings could make it
true. Units, percents, rounding, remainders, list marks and words like `half of` all raise such doubts; then it is left unjudged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from trainer.exact import TOKEN, Reading, Unreadable, read


class Truth(StrEnum):
    HOLDS = "holds"
    FALSE = "false"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True)
class Equation:
    """One `left = right` of a text, as it is written there; `where` is the place of its first character."""

    left: str
    right: str
    truth: Truth
    where: int
    value: Fraction | None = None
    """What the left side is worth, where it is a number."""
    work: tuple[str, ...] = ()
    """The operations of the left side, done exactly."""

    @property
    def text(self) -> str:
        return f"{self.left} = {self.right}"


@dataclass(frozen=True, slots=True)
class Known:
    """The variable of a problem and its value there: what equations with a variable are judged by."""

    variable: str
    root: Fraction


_STEP = r"(?:\*\*)?step[ \t]*\d+[ \t]*(?:\*\*)?[ \t]*[.:)–—-]*(?:\*\*)?[ \t]*"
MARK = re.compile(rf"^[ \t>]*(?:[-*•][ \t]+|\(?\d{{1,2}}[.)][ \t]+|{_STEP})+", re.IGNORECASE | re.MULTILINE)
"""What a line may begin with that is no part of its mathematics."""

_WORD = r"(?P<word>\\(?:text|mathrm|textbf)\{[^{}]*\}|[A-Za-z][A-Za-z'’-]*)"
_GAP = r"[ \t]+|&|\*\*|\\[()\[\]]|\\boxed\b|\n[ \t]*(?=&?[ \t]*=)"
PIECE = re.compile(TOKEN.pattern.replace(r"(?P<letter>[A-Za-z])", _WORD).replace(r"\s+", _GAP) + r"|(?P<equals>=)|(?P<break>(?s:.))")
CROSS = re.compile(r"(?<=[\d)])(\s*)[xX](\s*)(?=[\d(])")
JOINING = frozenset(
    ("number", "frac", "function", "power", "times", "over", "plus", "minus", "open", "close", "percent", "comma", "equals", "space")
)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


BINDING_BEFORE = _words(
    """
    of half twice double doubled triple thrice times plus minus over by than squared root sqrt log sin cos tan mod modulo per percent
    third quarter from less more to
    """
)
"""Words before a number that change what is computed."""
BINDING_AFTER = _words(
    """
    dozen dozens hundred thousand million billion percent times plus minus over squared cubed remainder r mod modulo cent cents pair
    pairs half halves more less or
    """
)
"""Words after a number that change what it is worth."""
AND_A_PART = re.compile(r"and[ \t]+(?:\d|a\b|an\b|one\b|half\b|\\)")
_Piece = tuple[str, re.Match[str]]
QUIET_BEFORE = " \t\n:.,;(=[\"'"
QUIET_AFTER = " \t\n.,;:)]}\"'?"


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive mathematical pieces, and what stands around them."""

    start: int
    text: str
    before: str
    after: str
    units: tuple[str, ...]


def find(text: str, known: Known | None = None) -> list[Equation]:
    """All equations of `text` in order, judged."""
    variable = known.variable if known else None
    marked = MARK.sub(lambda match: " " * len(match.group()), text)
    readable = marked if variable in ("x", "X") else CROSS.sub(r"\1×\2", marked)
    return [equation for run in _runs(readable, variable) for equation in _judge_run(run, known)]


def _runs(text: str, variable: str | None) -> Iterator[_Run]:
    pieces = [(match.lastgroup or "break", match) for match in PIECE.finditer(text)]
    index = 0
    while index < len(pieces):
        if pieces[index][0] == "space":
            index += 1
            continue
        end, units = _run_end(pieces, index, variable)
        if any(kind == "equals" for kind, _ in pieces[index:end]):
            start, stop = pieces[index][1].start(), pieces[end - 1][1].end()
            kept = (match.group() for kind, match in pieces[index:end] if kind != "word" or match.group() == variable)
            yield _Run(start, "".join(kept), text[:start], text[stop:], tuple(units))
        index = max(end, index + 1)


def _run_end(pieces: list[_Piece], start: int, variable: str | None) -> tuple[int, list[str]]:
    """Where the run that begins at `start` ends, and the units that were passed over."""
    end, depth = start, 0
    units: list[str] = []
    while end < len(pieces):
        kind, match = pieces[end]
        depth += (kind == "open") - (kind == "close")
        if kind == "word" and match.group() != variable:
            skip = _unit(pieces, end, start)
            if not skip:
                break
            units.append(match.group().lower().rstrip("s"))
            end += skip
        elif (kind in JOINING or kind == "word") and not (kind == "comma" and depth == 0):
            end += 1
        else:
            break
    return end, units


def _unit(pieces: list[_Piece], place: int, start: int) -> int:
    """How many pieces a unit takes that stands between a number and an operator or equals sign; 0 if the word is no unit."""
    before = next((kind for kind, _ in reversed(pieces[start:place]) if kind != "space"), "break")
    after = place + 1
    while after < len(pieces) and pieces[after][0] == "space":
        after += 1
    follows = pieces[after][0] if after < len(pieces) else "break"
    bound = pieces[place][1].group().lower() in BINDING_BEFORE | BINDING_AFTER
    return after - place if before == "number" and follows in ("plus", "minus", "times", "over", "equals") and not bound else 0


def _judge_run(run: _Run, known: Known | None) -> Iterator[Equation]:
    sides = run.text.split("=")
    place = run.start
    for index in range(len(sides) - 1):
        left, right = _shown(sides[index]), _shown(sides[index + 1])
        here, place = place, place + len(sides[index]) + 1
        if not left or not right:
            continue
        first, last = index == 0, index == len(sides) - 2
        doubtful = _doubtful(run, left, first=first, last=last)
        yield _judge(left, right, here, doubtful, known)


def _shown(side: str) -> str:
    text = re.sub(r"\\boxed\s*\{([^{}]*)\}", r"\1", side).replace("\\boxed", "")
    text = re.sub(r"\\[()\[\]]|\\left|\\right|\*\*|&|\\?\$|\n", "", text)
    return re.sub(r"\s+", " ", text).strip(" ,")


def _doubtful(run: _Run, left: str, *, first: bool, last: bool) -> bool:
    """Whether something around an equation could make another reading of it true."""
    operators = any(sign in left[1:] for sign in "+-−*/×·÷^\\(")
    before = run.before.rstrip(" \t$*\\([")
    word = re.search(r"([A-Za-z'’}]+)$", before)
    if first:
        if left[0] in "+*/×·÷^)" or (left[0] in "-−" and before and before[-1] not in "\n:=,;("):
            return True
        if word and (not operators or word.group().lower() in BINDING_BEFORE or run.before[-1:].isalpha()):
            return True
        if not word and before and before[-1] not in QUIET_BEFORE and not before.endswith("<<"):
            return True
    if run.units and (not operators or (len(set(run.units)) > 1 and any(sign in left for sign in "+-−"))):
        return True
    return last and _doubtful_after(run.after)


def _doubtful_after(after: str) -> bool:
    rest = after.lstrip(" \t$*\\)]")
    if not rest or rest[0] == "\n":
        return False
    word = re.match(r"\\(?:text|mathrm|textbf)\{\s*([A-Za-z]*)|([A-Za-z]+)", rest)
    if word:
        said = (word.group(1) or word.group(2) or "").lower()
        if said == "and":
            return bool(AND_A_PART.match(rest))
        return said in BINDING_AFTER or bool(re.match(r"[A-Za-z]+[ \t]+\d", rest))
    return (rest[0] not in QUIET_AFTER and not rest.startswith(">>")) or rest.startswith("..")


def _judge(left: str, right: str, where: int, doubtful: bool, known: Known | None) -> Equation:
    variable = known.variable if known else None
    try:
        a, b = read(left, variable), read(right, variable)
    except Unreadable:
        return Equation(left, right, Truth.UNJUDGED, where)
    value = None if a.value.slope else a.value.constant
    if _equal(a, b, known):
        return Equation(left, right, Truth.HOLDS, where, value, a.work)
    doubtful = doubtful or _other_reading(left, right, a, b)
    return Equation(left, right, Truth.UNJUDGED if doubtful else Truth.FALSE, where, value, a.work)


def _equal(a: Reading, b: Reading, known: Known | None) -> bool:
    if known is None or not (a.value.slope or b.value.slope):
        return a.value == b.value
    return a.value.at(known.root) == b.value.at(known.root)


def _other_reading(left: str, right: str, a: Reading, b: Reading) -> bool:
    """Rounding to the places that are written, a percent sign left out or added, and a minus that may be a dash."""
    difference, wanted = abs(a.value.constant - b.value.constant), b.value.constant
    places = re.fullmatch(r"-?[\d,]*\.(\d+)", right)
    if places and difference < Fraction(1, 10 ** len(places.group(1))):
        return True
    if "%" in left + right and wanted in (a.value.constant * 100, a.value.constant / 100):
        return True
    if left[0] in "-−":
        try:
            return read(left[1:]).value == b.value
        except Unreadable:
            return True
    return False
