"""Roots of rational numbers, and roots of sums of them that are such sums themselves."""

from fractions import Fraction
from math import isqrt

from evalsuite.checker import polynomial as poly
from evalsuite.checker.limits import MAX_BITS, MAX_TRIAL_FACTOR, TooLargeError
from evalsuite.checker.ratio import Ratio, over_one, plus, scaled, times

_DENESTED_TERMS = 2


def factors(value: Fraction) -> dict[int, int]:
    found = poly.factor_int(value.numerator, MAX_TRIAL_FACTOR)
    for prime, times_ in poly.factor_int(value.denominator, MAX_TRIAL_FACTOR).items():
        found[prime] = found.get(prime, 0) - times_
    return found


def rational_root(value: Fraction, exponent: Fraction) -> Ratio:
    """A positive rational number to a rational power, as a coefficient and roots of primes."""
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 4_000:
        raise TooLargeError("the root of a number of more than 4,000 bits")
    if exponent.denominator == 2 and exponent.numerator == 1:
        tops, bottoms = isqrt(value.numerator), isqrt(value.denominator)
        if tops * tops == value.numerator and bottoms * bottoms == value.denominator:
            return over_one(poly.constant(Fraction(tops, bottoms)))
    result = over_one(poly.constant(1))
    for prime, times_ in factors(value).items():
        if abs(times_ * exponent) * prime.bit_length() > MAX_BITS:
            raise TooLargeError(f"a power of more than {MAX_BITS} bits")
        raised, factor = poly.monomial_power(((f"#{prime}", Fraction(1)),), times_ * exponent)
        result = times(result, over_one({raised: factor}))
    return result


def denested(radicand: Ratio) -> Ratio | None:
    """The square root of `a + b sqrt(c)` as a sum of two square roots, where `a^2 - b^2 c` is a square."""
    if set(radicand.bottom) != {poly.ONE} or len(radicand.top) != _DENESTED_TERMS or poly.ONE not in radicand.top:
        return None
    scale = radicand.bottom[poly.ONE]
    ((monomial, value),) = ((one, value) for one, value in radicand.top.items() if one != poly.ONE)
    if not monomial or any(name[0] != "#" or power != Fraction(1, 2) for name, power in monomial):
        return None
    whole, part = radicand.top[poly.ONE] / scale, value / scale
    inside = Fraction(1)
    for name, _ in monomial:
        inside *= int(name[1:])
    square = whole * whole - part * part * inside
    if whole <= 0 or square < 0 or max(square.numerator.bit_length(), square.denominator.bit_length()) > MAX_BITS:
        return None
    root = Fraction(isqrt(square.numerator), isqrt(square.denominator))
    if root * root != square:
        return None
    high, low = rational_root((whole + root) / 2, Fraction(1, 2)), rational_root((whole - root) / 2, Fraction(1, 2))
    return plus(high, scaled(low, Fraction(1 if part > 0 else -1)))
