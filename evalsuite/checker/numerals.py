"""Numbers as they are written: decimal, in another base, and the names of bases."""

from fractions import Fraction
from typing import Final

from evalsuite.checker.limits import TooLargeError, UnreadableError
from evalsuite.checker.tree import Number


def number(text: str) -> Number:
    whole, _, fraction = text.partition(".")
    digits = (whole + fraction).lstrip("0")
    if len(digits) > 6_000:
        raise TooLargeError("a number of more than 6,000 digits")
    return Number(Fraction(int(whole + fraction or "0"), 10 ** len(fraction)), len(fraction), len(digits))


def subscript(text: str) -> str:
    return text.replace(" ", "").replace("{", "").replace("}", "").removeprefix("\\text").removeprefix("\\mathrm")


_BASE_WORDS: Final = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    "sixteen": 16,
}  # fmt: skip


def base_of(text: str) -> int | None:
    """The base that a subscript names, or None."""
    word = subscript(text)
    if word.isascii() and word.isdigit() and len(word) <= 2:
        return int(word) if 2 <= int(word) <= 36 else None
    return _BASE_WORDS.get(word.lower())


def in_base(digits: str, text: str) -> int:
    base = base_of(text)
    if base is None or not digits.isalnum() or len(digits) > 200:
        raise UnreadableError(f"{digits!r} in base {text!r}")
    try:
        return int(digits, base)
    except ValueError:
        raise UnreadableError(f"{digits!r} has a digit that base {base} has not") from None
