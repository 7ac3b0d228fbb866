"""Quotients of two polynomials and their arithmetic. The bottom is a constant wherever it can be."""

from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from evalsuite.checker import polynomial as poly
from evalsuite.checker.limits import UnreadableError
from evalsuite.checker.polynomial import Polynomial


@dataclass(frozen=True, slots=True)
class Ratio:
    top: Polynomial
    bottom: Polynomial

    @property
    def number(self) -> Fraction | None:
        """The value, when it is rational."""
        if set(self.bottom) == {poly.ONE} and set(self.top) <= {poly.ONE}:
            return self.top.get(poly.ONE, Fraction(0)) / self.bottom[poly.ONE]
        return None


def over_one(top: Polynomial) -> Ratio:
    return Ratio(top, {poly.ONE: Fraction(1)})


def ratio_key(ratio: Ratio) -> str:
    number = ratio.number
    if number is not None:
        return str(number)
    lead = ratio.bottom[min(ratio.bottom)]
    scale = Fraction(1) / lead
    top = {monomial: coefficient * scale for monomial, coefficient in ratio.top.items()}
    bottom = {monomial: coefficient * scale for monomial, coefficient in ratio.bottom.items()}
    return f"({poly.key(top)})/({poly.key(bottom)})"


def plus(first: Ratio, second: Ratio) -> Ratio:
    if first.bottom == second.bottom:
        return Ratio(poly.add(first.top, second.top), first.bottom)
    top = poly.add(poly.multiply(first.top, second.bottom), poly.multiply(second.top, first.bottom))
    return Ratio(top, poly.multiply(first.bottom, second.bottom))


def times(first: Ratio, second: Ratio) -> Ratio:
    return Ratio(poly.multiply(first.top, second.top), poly.multiply(first.bottom, second.bottom))


def scaled(ratio: Ratio, factor: Fraction) -> Ratio:
    return Ratio({monomial: poly.bounded(value * factor) for monomial, value in ratio.top.items()}, ratio.bottom)


def inverse(ratio: Ratio) -> Ratio:
    if not ratio.top:
        raise UnreadableError("a division by zero")
    if len(ratio.top) == 1:
        ((monomial, coefficient),) = ratio.top.items()
        raised, factor = poly.monomial_power(monomial, Fraction(-1))
        return over_one(poly.multiply(ratio.bottom, {raised: factor / coefficient}))
    return Ratio(ratio.bottom, ratio.top)


def content_of(ratio: Ratio) -> Fraction:
    """The positive rational number that divides every coefficient, so that equal radicands get equal keys."""
    contents: list[Fraction] = []
    for side in (ratio.top, ratio.bottom):
        top, bottom = 0, 1
        for value in side.values():
            top = gcd(top, value.numerator)
            bottom = bottom * value.denominator // gcd(bottom, value.denominator)
        contents.append(Fraction(top, bottom))
    return contents[0] / contents[1]


def leading_negative(ratio: Ratio) -> bool:
    if not ratio.top:
        return False
    return (ratio.top[max(ratio.top)] < 0) != (ratio.bottom[max(ratio.bottom)] < 0)


def by_imaginary(ratio: Ratio) -> tuple[Ratio, Ratio]:
    """The terms with `I`, divided by it, and the terms without."""
    with_it: Polynomial = {}
    without: Polynomial = {}
    for monomial, value in ratio.top.items():
        if ("I", Fraction(1)) in monomial:
            with_it[tuple(part for part in monomial if part[0] != "I")] = value
        else:
            without[monomial] = value
    return Ratio(with_it, ratio.bottom), Ratio(without, ratio.bottom)


def is_complex_number(ratio: Ratio) -> bool:
    names = {name for monomial in ratio.top for name, _ in monomial}
    return "I" in names and all(name == "I" or name[0] == "#" for name in names)
