"""Exact arithmetic on written expressions: rational numbers, and linear forms in one variable. Never rounds, never runs text as code.

Grammar: sums, products (also implied: `2(3 + 4)`, `3x`), quotients, `\\frac{a}{b}`, powers with small whole exponents, percent, `gcd` and
`lcm`. What it cannot read, or what would grow too large, raises `Unreadable`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 40
MAX_EXPONENT = 12
MAX_TOKENS = 200
MAX_DEPTH = 20

TOKEN = re.compile(
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?|\.\d+)"
    r"|(?P<frac>\\[dt]?frac\b)"
    r"|(?P<function>\\?(?:gcd|lcm)\b)"
    r"|(?P<power>\^|(?<=[\d)])\*\*(?=[\d(]))"
    r"|(?P<times>\\times\b|\\cdot\b|[×·⋅]|\*(?!\*))"
    r"|(?P<over>\\div\b|[÷/])"
    r"|(?P<plus>\+)"
    r"|(?P<minus>[-−])"
    r"|(?P<open>[({])"
    r"|(?P<close>[)}])"
    r"|(?P<percent>\\?%)"
    r"|(?P<comma>,)"
    r"|(?P<letter>[A-Za-z])"
    r"|(?P<space>\s+|\\?\$|\\left\b|\\right\b|\\[,;!: ])"
)
OPERATORS = frozenset({"plus", "minus", "times", "over", "power", "frac", "function"})


class Unreadable(ValueError):
    """The text is no expression of this grammar, or is over its limits."""


@dataclass(frozen=True, slots=True)
class Value:
    """`slope * variable + constant`."""

    constant: Fraction
    slope: Fraction = Fraction(0)

    def at(self, point: Fraction) -> Fraction:
        return self.slope * point + self.constant


@dataclass(frozen=True, slots=True)
class Reading:
    """What an expression is worth, how it was written, and each operation that led there."""

    value: Value
    operators: int
    work: tuple[str, ...]


def read(text: str, variable: str | None = None) -> Reading:
    """The value of `text`; a letter other than `variable` makes it unreadable."""
    return _Parser(text, variable).whole()


def number(text: str) -> Fraction:
    """The value of a text that has no variable."""
    return read(text).value.constant


def write(value: Fraction, *, decimal: bool = False) -> str:
    """A number as people write it: whole, a terminating decimal if asked for, or a fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    if decimal and (shift := _decimal_places(value.denominator)) is not None:
        digits = str(abs(value.numerator) * 10**shift // value.denominator).rjust(shift + 1, "0")
        return f"{'-' if value < 0 else ''}{digits[:-shift]}.{digits[-shift:]}"
    return f"{value.numerator}/{value.denominator}"


def _decimal_places(denominator: int) -> int | None:
    return next((places for places in range(1, 7) if 10**places % denominator == 0), None)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str, variable: str | None) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise Unreadable(f"no expression: {text[place : place + 10]!r}")
        kind, place = match.lastgroup, match.end()
        if kind == "letter" and match.group() != variable:
            raise Unreadable(f"unknown letter {match.group()!r}")
        if kind == "number" and len(match.group()) > MAX_DIGITS:
            raise Unreadable("too large")
        if kind != "space":
            yield _Token(kind, match.group())


class _Parser:
    """Recursive descent; every operation on two numbers is written down as it is done."""

    def __init__(self, text: str, variable: str | None) -> None:
        self.tokens = list(_tokens(text, variable))
        if len(self.tokens) > MAX_TOKENS:
            raise Unreadable("too long")
        self.place = 0
        self.depth = 0
        self.operators = sum(token.kind in OPERATORS for token in self.tokens)
        self.decimal = any("." in token.text for token in self.tokens)
        self.work: list[str] = []
        if any(token.kind == "function" for token in self.tokens) and any("," in token.text[1:] for token in self.tokens):
            raise Unreadable("a comma that may part two numbers or the thousands of one")

    def whole(self) -> Reading:
        value = self._sum()
        if self.place != len(self.tokens):
            raise Unreadable(f"something stands after the expression: {self.tokens[self.place].text!r}")
        return Reading(value, self.operators, tuple(self.work))

    def _next(self) -> str:
        return self.tokens[self.place].kind if self.place < len(self.tokens) else "end"

    def _take(self, kind: str) -> _Token:
        if self._next() != kind:
            raise Unreadable(f"expected {kind}, found {self._next()}")
        self.place += 1
        return self.tokens[self.place - 1]

    def _sum(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        value = self._product()
        while (kind := self._next()) in ("plus", "minus"):
            self._take(kind)
            other = self._product()
            sign = 1 if kind == "plus" else -1
            result = Value(value.constant + sign * other.constant, value.slope + sign * other.slope)
            value = self._done("+" if sign == 1 else "-", value, other, result)
        self.depth -= 1
        return value

    def _product(self) -> Value:
        value = self._signed()
        while True:
            kind = self._next()
            if kind in ("times", "over"):
                self._take(kind)
                value = self._times(value, self._signed()) if kind == "times" else self._over(value, self._signed())
            elif kind in ("open", "letter", "frac", "function"):
                value = self._times(value, self._power())
            else:
                return value

    def _times(self, a: Value, b: Value) -> Value:
        if a.slope and b.slope:
            raise Unreadable("not linear")
        result = Value(a.constant * b.constant, a.slope * b.constant + b.slope * a.constant)
        return self._done("*", a, b, result)

    def _over(self, a: Value, b: Value) -> Value:
        if b.slope or not b.constant:
            raise Unreadable("division by zero or by the variable")
        return self._done("/", a, b, Value(a.constant / b.constant, a.slope / b.constant))

    def _signed(self) -> Value:
        sign = 1
        while (kind := self._next()) in ("plus", "minus"):
            self._take(kind)
            sign = -sign if kind == "minus" else sign
        value = self._power()
        return Value(sign * value.constant, sign * value.slope)

    def _power(self) -> Value:
        base = self._atom()
        if self._next() != "power":
            return base
        self._take("power")
        exponent = self._signed()
        whole = exponent.constant
        if base.slope or exponent.slope or whole.denominator != 1 or not 0 <= whole <= MAX_EXPONENT:
            raise Unreadable("a power whose exponent is not a small whole number")
        return self._done("^", base, exponent, Value(base.constant ** int(whole)))

    def _atom(self) -> Value:
        kind = self._next()
        if kind == "number":
            return self._percent(Value(Fraction(self._take(kind).text.replace(",", ""))))
        if kind == "letter":
            self._take(kind)
            return Value(Fraction(0), Fraction(1))
        if kind == "frac":
            self._take(kind)
            top = self._group()
            return self._over(top, self._group())
        if kind == "function":
            return self._function()
        return self._group()

    def _percent(self, value: Value) -> Value:
        if self._next() != "percent":
            return value
        self._take("percent")
        return Value(value.constant / 100)

    def _group(self) -> Value:
        self._take("open")
        value = self._sum()
        self._take("close")
        return value

    def _function(self) -> Value:
        name = self._take("function").text.lstrip("\\")
        self._take("open")
        given = [self._whole_number()]
        while self._next() == "comma":
            self._take("comma")
            given.append(self._whole_number())
        self._take("close")
        result = math.gcd(*given) if name == "gcd" else math.lcm(*given)
        self.work.append(f"{name}({', '.join(map(str, given))}) = {result}")
        return Value(Fraction(result))

    def _whole_number(self) -> int:
        value = self._sum()
        if value.slope or value.constant.denominator != 1:
            raise Unreadable("expected a whole number")
        return int(value.constant)

    def _done(self, sign: str, a: Value, b: Value, result: Value) -> Value:
        if max(abs(result.constant.numerator), result.constant.denominator) >= 10**MAX_DIGITS:
            raise Unreadable("too large")
        if not (a.slope or b.slope):
            left, right = self._operand(a, sign, first=True), self._operand(b, sign, first=False)
            self.work.append(f"{left} {sign} {right} = {write(result.constant, decimal=self.decimal)}")
        return result

    def _operand(self, value: Value, sign: str, *, first: bool) -> str:
        """The number as it stands in an operation, in brackets where it would be read in another way without."""
        text = write(value.constant, decimal=self.decimal)
        grouped = ("/" in text and sign in "*/^") or (text.startswith("-") and (not first or sign == "^"))
        return f"({text})" if grouped else text
