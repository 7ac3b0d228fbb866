"""Where the mathematics of a text stands: runs of numbers and signs, told from the prose, marks and units around them. Judges nothing.

A run knows its surroundings, and says whether they cast a doubt on reading it as it stands: `half of`, a unit, a remainder, a root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trainer.algebra.exact import TOKEN

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
Piece = tuple[str, re.Match[str]]
REACH = 60
"""How many characters around a run are looked at."""
QUIET_BEFORE = " \t\n:.,;(=[\"'"
QUIET_AFTER = " \t\n.,;:)]}\"'?"


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive mathematical pieces that hold an equals sign, with their place in the text and what stands around them."""

    start: int
    text: str
    """As long as in the original; units are blanked out."""
    before: str
    after: str
    units: tuple[str, ...]

    def doubtful(self, left: str, *, first: bool, last: bool) -> bool:
        """Whether something around an equation could make another reading of it true."""
        operators = any(sign in left[1:] for sign in "+-−*/×·÷^\\(")
        before = self.before.rstrip(" \t$*\\([")
        word = re.search(r"([A-Za-z'’}]+)$", before)
        if first:
            if left[0] in "+*/×·÷^)" or (left[0] in "-−" and before and before[-1] not in "\n:=,;("):
                return True
            if word and (not operators or word.group().lower() in BINDING_BEFORE or self.before[-1:].isalpha()):
                return True
            if not word and before and before[-1] not in QUIET_BEFORE and not before.endswith("<<"):
                return True
        if self.units and (not operators or (len(set(self.units)) > 1 and any(sign in left for sign in "+-−"))):
            return True
        return last and _binds_after(self.after)


def runs(text: str, variable: str | None) -> Iterator[Run]:
    """All runs of `text`; the letter `variable` is mathematics, every other word is prose. An `x` between numbers is a times sign."""
    marked = MARK.sub(lambda match: " " * len(match.group()), text)
    readable = marked if variable in ("x", "X") else CROSS.sub(r"\1×\2", marked)
    pieces = [(match.lastgroup or "break", match) for match in PIECE.finditer(readable)]
    index = 0
    while index < len(pieces):
        if pieces[index][0] == "space":
            index += 1
            continue
        end, units = _run_end(pieces, index, variable)
        if any(kind == "equals" for kind, _ in pieces[index:end]):
            start, stop = pieces[index][1].start(), pieces[end - 1][1].end()
            shown = (" " * len(match.group()) if _prose(kind, match, variable) else match.group() for kind, match in pieces[index:end])
            yield Run(start, "".join(shown), readable[max(0, start - REACH) : start], readable[stop : stop + REACH], tuple(units))
        index = max(end, index + 1)


def _prose(kind: str, match: re.Match[str], variable: str | None) -> bool:
    return kind == "word" and match.group() != variable


def _run_end(pieces: list[Piece], start: int, variable: str | None) -> tuple[int, list[str]]:
    """Where the run that begins at `start` ends, and the units that were passed over."""
    end, depth = start, 0
    units: list[str] = []
    while end < len(pieces):
        kind, match = pieces[end]
        depth += (kind == "open") - (kind == "close")
        if _prose(kind, match, variable):
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


def _unit(pieces: list[Piece], place: int, start: int) -> int:
    """How many pieces a unit takes that stands between a number and an operator or equals sign; 0 if the word is no unit."""
    before, after = place - 1, place + 1
    while before > start and pieces[before][0] == "space":
        before -= 1
    while after < len(pieces) and pieces[after][0] == "space":
        after += 1
    follows = pieces[after][0] if after < len(pieces) else "break"
    bound = pieces[place][1].group().lower() in BINDING_BEFORE | BINDING_AFTER
    return after - place if pieces[before][0] == "number" and follows in ("plus", "minus", "times", "over", "equals") and not bound else 0


def _binds_after(after: str) -> bool:
    """Whether what follows a number makes it worth something else."""
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
