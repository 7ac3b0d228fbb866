"""From the text of an answer to its readings.

The text is stripped of its wrapping, recognised as one of the special forms or divided into members, and each member into a
name, an expression and a unit. What cannot be read is plain words, or nothing at all.
"""

import re
from fractions import Fraction
from typing import Final

from evalsuite.checker.answers import Answer, Choice, Clock, Expression, Listing, Numeral, Words
from evalsuite.checker.limits import MAX_MEMBERS, TooLargeError, UnreadableError
from evalsuite.checker.lists import answer_of
from evalsuite.checker.numerals import base_of, in_base
from evalsuite.checker.tokens import plain, tokenize
from evalsuite.checker.tree import Braces, Name, Number, Quotient
from evalsuite.checker.wording import ALL_REALS, EMPTY_SET, as_choice, as_words, spelled_number, strip_wrapping, whole_text

_TIME: Final = re.compile(r"([0-9]{1,2})(?::([0-9]{2}))?(?::([0-9]{2}))? ?(?:(a|p)\.? ?m\b\.?)?", re.IGNORECASE)


_NUMERAL: Final = re.compile(r"(-?)([0-9A-Za-z]{1,200}(?:\.[0-9A-Za-z]{1,100})?) ?_ ?(?:\{([^{}]*(?:\{[^{}]*\})?)\}|([0-9]{1,2}))")


_NUMERAL_WORDS: Final = re.compile(r"(-?)([0-9A-Z]{1,200}),? (?:in )?\(?base[ -]?([0-9]{1,2}|[a-z]{2,8})\)?", re.IGNORECASE)


_PREFIXED: Final = re.compile(r"(-?)0(?:[xX](?P<hex>[0-9A-Fa-f]{1,200})|[oO](?P<oct>[0-7]{1,200})|[bB](?P<bin>[01]{1,200}))")
"""A numeral as programs write it: `0x1f`."""

PREFIX_BASES: Final = {"hex": 16, "oct": 8, "bin": 2}

_DECIMAL_COMMA: Final = re.compile(r"([^0-9,(\[{]{0,4}[0-9]+),([0-9]{2}|[0-9]{4,})([^0-9,]{0,12})")


_ZERO_COMMA: Final = re.compile(r"([^0-9,(\[{]{0,4}0),([0-9]{2,})([^0-9,]{0,12})")


_UNIT_LETTERS: Final = re.compile(
    r"(.*[0-9}] ?\s)((?:[mgshLlNJWVK]|km|cm)(?:\^\{?[23]\}?)?(?: ?/ ?(?:s|h|min|hr|kg|m|L)(?:\^\{?[23]\}?)?)?)", re.DOTALL
)


def readings(text: str) -> list[Answer]:
    """Every way to read the text, the most literal first. Raises `TooLargeError` for what must not be evaluated."""
    text = strip_wrapping(plain(text))
    if not text:
        return []
    content = whole_text(text)
    if content is not None:
        text = strip_wrapping(content)
        if not text:
            return []
    found: list[Answer] = []
    choice = as_choice(text)
    if choice is not None:
        found.append(Choice(choice))
    special = _special(text)
    if isinstance(special, Clock) and special.half is None and special.minute:
        return [*found, special, Expression(Quotient(Number(Fraction(special.hour)), Number(Fraction(special.minute))))]
    if special is not None:
        return [*found, special]
    words = as_words(text)
    if words is not None:
        found.append(Words(words))
        found += _meanings(words)
        if content is not None or not _could_be_product(text):
            return found + _lists_of_words(text)
    found += _expressions(text)
    if not found:
        fallback = as_words(text, loose=True)
        if fallback is not None:
            found.append(Words(fallback, literal=True))
    return found


def is_readable(text: str) -> bool:
    """Whether the text has a reading other than as words."""
    try:
        return any(not isinstance(answer, Words) for answer in readings(text))
    except (UnreadableError, TooLargeError):
        return False


def _meanings(words: str) -> list[Answer]:
    """The mathematical object that plain words name, if any."""
    if words in EMPTY_SET:
        return [Expression(Braces(()))]
    if words in ALL_REALS:
        return [Expression(Name("set:R"))]
    value = spelled_number(words)
    return [] if value is None else [Expression(Number(value))]


def _could_be_product(text: str) -> bool:
    return text.isalpha() and (len(text) <= 2 or not set(text.lower()) & set("aeiou"))


def _lists_of_words(text: str) -> list[Answer]:
    parts = [part for part in re.split(r",| and | or ", text) if part.strip()]
    if not 2 <= len(parts) <= MAX_MEMBERS:
        return []
    members: list[Answer] = []
    for part in parts:
        choice = as_choice(part.strip())
        words = as_words(part.strip())
        if choice is not None:
            members.append(Choice(choice))
        elif words is not None:
            members.append(Words(words))
        else:
            return []
    return [Listing(tuple(members))]


def _special(text: str) -> Answer | None:
    flat = _flatten(text)
    if match := _TIME.fullmatch(flat):
        hour, minute, second, half = match.groups()
        if (minute is not None or half is not None) and int(hour) < 25 and int(minute or 0) < 60:
            return Clock(int(hour), int(minute or 0), int(second or 0), half.lower() if half else None)
    match = _NUMERAL.fullmatch(text.replace("\\!", "").replace("\\,", "")) or _NUMERAL_WORDS.fullmatch(flat)
    if match:
        sign, digits, *bases = match.groups()
        named = next((base for base in bases if base), "")
        base = base_of(named)
        whole, _, fraction = digits.partition(".")
        if base is not None and (digits.replace(".", "").isdigit() or (base > 10 and digits[0].isdigit())):
            try:
                in_base(whole + fraction, named)
            except UnreadableError:
                return None
            fraction = fraction.rstrip("0")
            return Numeral(sign + (whole.lstrip("0") or "0").upper() + ("." + fraction.upper() if fraction else ""), base)
    if match := _PREFIXED.fullmatch(flat):
        digits = next(digits for digits in match.group("hex", "oct", "bin") if digits)
        return Numeral(match.group(1) + (digits.lstrip("0") or "0").upper(), PREFIX_BASES[match.lastgroup or "hex"])
    return None


def _flatten(text: str) -> str:
    """The text with `\\text{...}` opened and spacing commands removed, for the patterns of plain writing."""
    flat = re.sub(r"\\(?:text|mbox|textrm|mathrm)\s?\{([^{}]*)\}", r"\1", text)
    flat = re.sub(r"\\[,;:! ]|~|\$|\{|\}", " ", flat)
    return " ".join(flat.split()).replace(" :", ":").replace(": ", ":")


def _expressions(text: str) -> list[Answer]:
    found: list[Answer] = []
    failure: TooLargeError | None = None
    spellings = [(text, True)]
    if "," in text:
        spellings.append((text, False))
        decimal = _DECIMAL_COMMA.fullmatch(text) or _ZERO_COMMA.fullmatch(text)
        if decimal:
            spellings.append((f"{decimal.group(1)}.{decimal.group(2)}{decimal.group(3)}", True))
    if match := _UNIT_LETTERS.fullmatch(text):
        spellings.append((f"{match.group(1)}\\text{{{match.group(2)}}}", True))
    for spelling, commas in spellings:
        try:
            answer = answer_of(tokenize(spelling, commas=commas))
        except UnreadableError:
            continue
        except TooLargeError as error:
            failure = error
            continue
        if answer not in found:
            found.append(answer)
    if not found and failure is not None:
        raise failure
    return found
