"""The layers in order, on two answers that were already extracted.

The same code runs in the caller's process, where an open question stays open, and in a worker, where SymPy may close it.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from evalsuite.checker.answers import Answer, Words
from evalsuite.checker.compare import same
from evalsuite.checker.judge import Judge, Proof
from evalsuite.checker.limits import MAX_ANSWER_CHARS, TooLargeError, UnreadableError
from evalsuite.checker.reader import readings
from evalsuite.checker.tokens import plain
from evalsuite.checker.wording import strip_wrapping

_NOISE: Final = re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\[,;:! ]|[\s~]+")
_LOOSE_SPACE: Final = re.compile(r"(?<![A-Za-z0-9.,]) +| +(?![A-Za-z0-9.,])")
_EVALUATED: Final = re.compile(r"\\(?:sum|prod|int|lim|det|gcd|max|min|mod|pmod)|vmatrix")


@dataclass(frozen=True, slots=True)
class Decision:
    state: Literal["equal", "unequal", "open", "unread"]
    """`open`: read, but only a proof could tell. `unread`: one side is not in the grammar."""
    layer: Literal["text", "exact", "symbolic"]
    reason: str


def decide(gold: str, pred: str, prove: Proof | None = None) -> Decision:
    if len(gold) > MAX_ANSWER_CHARS or len(pred) > MAX_ANSWER_CHARS:
        if gold == pred:
            return Decision("equal", "text", "the same text")
        return Decision("unequal", "text", f"an answer of more than {MAX_ANSWER_CHARS} characters is compared as text only")
    try:
        left, right = spelling(gold), spelling(pred)
        if left and left == right:
            return Decision("equal", "text", "the same text")
        golds, preds = readings(gold), readings(pred)
    except UnreadableError as error:
        return Decision("unequal", "text", str(error))
    except TooLargeError as error:
        return Decision("unequal", "exact", f"refused: {error}")
    return _by_type(gold, pred, golds, preds, Judge(prove))


def _by_type(gold: str, pred: str, golds: list[Answer], preds: list[Answer], judge: Judge) -> Decision:
    is_open = False
    for one in golds:
        for other in preds:
            try:
                verdict = same(one, other, judge)
            except UnreadableError:
                verdict = False
            except TooLargeError as error:
                return Decision("unequal", "exact", f"refused: {error}")
            if verdict:
                layer: Literal["symbolic", "exact"] = "symbolic" if judge.used_proof else "exact"
                return Decision("equal", layer, f"the same {_kind(one)}")
            is_open = is_open or verdict is None
    if is_open:
        return Decision("open", "exact", "no proof that they are equal, and no point where they differ")
    if _unread(gold, golds) or _unread(pred, preds):
        return Decision("unread", "exact", "not in the grammar of answers")
    return Decision("unequal", "symbolic" if judge.used_proof else "exact", f"{_kinds(golds)} against {_kinds(preds)}: different")


def spelling(text: str) -> str:
    """The text without spacing, delimiters and size commands; two answers with one spelling are equal."""
    bare = _LOOSE_SPACE.sub("", " ".join(_NOISE.sub(" ", strip_wrapping(plain(text))).split()))
    return bare.replace("dfrac", "frac").replace("tfrac", "frac")


def _unread(text: str, found: list[Answer]) -> bool:
    return "\\" in text and all(isinstance(answer, Words) and answer.literal for answer in found)


def may_ask(gold: str, pred: str) -> bool:
    """Whether an unread pair is worth another reader's opinion: neither side read, or one that asks for an evaluation."""
    unread = []
    for text in (gold, pred):
        try:
            unread.append(_unread(text, readings(text)))
        except (UnreadableError, TooLargeError):
            return False
    return all(unread) or any(_EVALUATED.search(text) for text, missing in zip((gold, pred), unread, strict=True) if missing)


def _kind(answer: Answer) -> str:
    return type(answer).__name__.lower()


def _kinds(found: list[Answer]) -> str:
    return _kind(found[-1]) if found else "nothing that can be read"
