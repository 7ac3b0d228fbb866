"""The wrapping and the words of an answer: delimiters around it, choices, and answers that are plain text."""

import re
from fractions import Fraction
from typing import Final

from evalsuite.checker import signs

_WHOLE_TEXT: Final = re.compile(r"\\(?:text|mbox|textbf|textrm|textnormal|textit|mathrm|mathbf|hbox|emph|textsf|bf|rm) ?\{([^{}]*)\}")
_CHOICE: Final = re.compile(r"\(?([A-Ja-d])\)?[.):]?|\(([A-Ja-j])\)")
_CHOICE_WITH_TEXT: Final = re.compile(r"(?:\(([A-J])\)|([A-J])[.:)])\s+\S.*", re.DOTALL)
_OPTION: Final = re.compile(r"(?:option|choice|answer) \(?([A-J])\)?", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z'-]*")
_ARTICLES: Final = frozenset({"the", "a", "an"})

EMPTY_SET: Final = frozenset({"no solution", "no solutions", "none", "no real solution", "no real solutions", "empty set", "no such value"})
UNDEFINED: Final = frozenset({"undefined", "dne", "does not exist", "not defined"})
ALL_REALS: Final = frozenset({"all real numbers", "all reals", "real numbers", "all real x", "reals", "all real values"})
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_UNITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
NUMBER_WORDS: Final = {word: Fraction(value) for value, word in enumerate(_UNITS)} | {
    word: Fraction(10 * value) for value, word in enumerate(_TENS, start=2)
}
_MAX_NUMBER_WORDS: Final = 8
SCALES: Final = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def spelled_number(words: str) -> Fraction | None:
    """The value of a number in words: `seven`, `twenty-five`, `three hundred`, `two million`."""
    total, group = Fraction(0), Fraction(0)
    parts = words.replace("-", " ").split()
    if not 1 <= len(parts) <= _MAX_NUMBER_WORDS:
        return None
    for word in parts:
        if word in NUMBER_WORDS:
            group += NUMBER_WORDS[word]
        elif word in SCALES and (group or total):
            total, group = (total, group * SCALES[word]) if word == "hundred" else (total + group * SCALES[word], Fraction(0))
        else:
            return None
    return total + group


def strip_wrapping(text: str) -> str:
    """The text without delimiters, emphasis, boxes and end punctuation around it."""
    previous = None
    while text != previous:
        previous = text
        text = text.strip().strip("\\ \t\n") if not text.endswith("\\%") and text.startswith("\\ ") else text.strip()
        text = _trim_end(text)
        if text.startswith("**") and text.endswith("**") and len(text) > 4:
            text = text[2:-2]
        if len(text) > 2 and text[0] == text[-1] == '"':
            text = text[1:-1]
        if text.startswith(("\\(", "\\[")) and text.endswith(("\\)", "\\]")) and text.count("\\(") + text.count("\\[") == 1:
            text = text[2:-2]
        if text.startswith(("\\boxed", "\\fbox")) and text.endswith("}") and "{" in text and _closes_at_end(text, text.index("{")):
            text = text[text.index("{") + 1 : -1]
        text = _without_dollars(text)
    return text


def _trim_end(text: str) -> str:
    while text and not text.endswith(("\\,", "\\;", "\\:", "...")):
        if text[-1] not in ".,;:?\\" or text.endswith("\\\\"):
            break
        text = text[:-1].rstrip()
    for mark in ("\\\\", "\\,", "\\;", "\\!", "\\:", "~"):
        text = text.removesuffix(mark)
    return text


def _without_dollars(text: str) -> str:
    """An even number of unescaped dollars are delimiters of mathematics; a single one is a currency sign."""
    places = [place for place, char in enumerate(text) if char == "$" and (place == 0 or text[place - 1] != "\\")]
    if not places or len(places) % 2:
        return text
    return "".join(char if char != "$" or (place and text[place - 1] == "\\") else " " for place, char in enumerate(text))


def _closes_at_end(text: str, start: int) -> bool:
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place == len(text) - 1
    return False


def whole_text(text: str) -> str | None:
    """The content of one `\\text{...}` that is the whole answer."""
    match = _WHOLE_TEXT.fullmatch(text)
    return match.group(1) if match else None


def flatten(text: str) -> str:
    """The text with `\\text{...}` opened and spacing removed, as plain writing."""
    flat = re.sub(r"\\(?:text|mbox|textrm|textbf|textnormal|mathrm|mathbf)\s?\{([^{}]*)\}", r"\1", text)
    flat = re.sub(r"\\left|\\right|\\[,;:! ]|~", " ", flat)
    return " ".join(flat.split())


def as_choice(text: str) -> str | None:
    """The letter of a multiple-choice answer: `B`, `(B)`, `B.`, `(B) 42`, `option B`."""
    flat = flatten(text)
    match = _CHOICE.fullmatch(flat.replace("( ", "(").replace(" )", ")")) or _CHOICE_WITH_TEXT.fullmatch(flat) or _OPTION.fullmatch(flat)
    return next((letter.upper() for letter in match.groups() if letter), None) if match else None


def as_words(text: str, *, loose: bool = False) -> str | None:
    """The canonical words of a plain text answer; `loose` accepts anything, as a last resort."""
    flat = flatten(text).replace('"', " ")
    if loose:
        return "".join(flat.lower().split()) or None
    words = flat.replace(".", " ").replace(",", " ").split()
    if not words or not all(_WORD.fullmatch(word) for word in words):
        return None
    low = [word.lower() for word in words]
    if any(word in signs.CONSTANT_WORDS or word in signs.FUNCTIONS or word in signs.GREEK for word in low):
        return None
    if len(low) == 1 and len(low[0]) == 1:
        return None
    kept = [word for word in low if word not in _ARTICLES] or low
    joined = " ".join(kept)
    return "undefined" if joined in UNDEFINED else joined
