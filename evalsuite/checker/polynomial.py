"""Exact polynomials over named atoms, with rational coefficients and rational exponents.

An atom is a string: a variable, `#p` for a prime under a root, `pi`, `e`, `I`, or the key of something opaque. Powers of primes
keep their exponent in [0, 1) and powers of `I` in {0, 1}, so a sum is zero only when it is empty: distinct roots of integers
are linearly independent over the rationals.
"""

from fractions import Fraction
from typing import TypeAlias

from evalsuite.checker.limits import MAX_BITS, MAX_TERMS, TooLargeError

Monomial: TypeAlias = tuple[tuple[str, Fraction], ...]
Polynomial: TypeAlias = dict[Monomial, Fraction]

ONE: Monomial = ()


def constant(value: Fraction | int) -> Polynomial:
    return {ONE: Fraction(value)} if value else {}


def atom(name: str, exponent: Fraction | int = 1) -> Polynomial:
    return {((name, Fraction(exponent)),): Fraction(1)}


def bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise TooLargeError(f"a number of more than {MAX_BITS} bits")
    return value


def power_of_int(base: int, exponent: int) -> Fraction:
    """`base ** exponent`, refused before it is computed when it would be too wide."""
    if abs(base) > 1 and abs(exponent) * abs(base).bit_length() > MAX_BITS:
        raise TooLargeError(f"a power of more than {MAX_BITS} bits")
    return Fraction(base) ** exponent


def _settle(exponents: dict[str, Fraction]) -> tuple[Monomial, Fraction]:
    """The canonical monomial of a product of powers, and the rational number that falls out of it."""
    factor = Fraction(1)
    kept: list[tuple[str, Fraction]] = []
    for name, power in exponents.items():
        exponent = power
        if name[0] == "#":
            whole = exponent.numerator // exponent.denominator
            if whole:
                factor *= power_of_int(int(name[1:]), whole)
                exponent -= whole
        elif name == "I" and exponent.denominator == 1:
            turns = exponent.numerator % 4
            factor *= -1 if turns >= 2 else 1
            exponent = Fraction(turns % 2)
        if exponent:
            kept.append((name, exponent))
    kept.sort()
    return tuple(kept), factor


def times_monomial(first: Monomial, second: Monomial) -> tuple[Monomial, Fraction]:
    if not first:
        return second, Fraction(1)
    if not second:
        return first, Fraction(1)
    exponents = dict(first)
    for name, exponent in second:
        exponents[name] = exponents.get(name, Fraction(0)) + exponent
    return _settle(exponents)


def monomial_power(monomial: Monomial, exponent: Fraction) -> tuple[Monomial, Fraction]:
    return _settle({name: power * exponent for name, power in monomial})


def add(first: Polynomial, second: Polynomial, scale: Fraction | int = 1) -> Polynomial:
    total = dict(first)
    for monomial, coefficient in second.items():
        value = total.get(monomial, Fraction(0)) + coefficient * scale
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)
    return total


def multiply(first: Polynomial, second: Polynomial) -> Polynomial:
    if len(first) * len(second) > MAX_TERMS * 8:
        raise TooLargeError(f"a product of {len(first)} by {len(second)} terms")
    total: Polynomial = {}
    for left, left_coefficient in first.items():
        for right, right_coefficient in second.items():
            monomial, factor = times_monomial(left, right)
            value = total.get(monomial, Fraction(0)) + bounded(left_coefficient * right_coefficient * factor)
            if value:
                total[monomial] = value
            else:
                total.pop(monomial, None)
    if len(total) > MAX_TERMS:
        raise TooLargeError(f"more than {MAX_TERMS} terms")
    return total


def key(polynomial: Polynomial) -> str:
    """A text that two polynomials share exactly when they are equal."""
    terms = sorted((monomial, coefficient) for monomial, coefficient in polynomial.items())
    return "+".join(f"{coefficient}" + "".join(f"*{name}^{exponent}" for name, exponent in monomial) for monomial, coefficient in terms)


def factor_int(number: int, limit: int) -> dict[int, int]:
    """The primes of a positive integer up to `limit`, with what is left (prime or not) as one more factor."""
    found: dict[int, int] = {}
    prime = 2
    while prime * prime <= number and prime <= limit:
        while number % prime == 0:
            found[prime] = found.get(prime, 0) + 1
            number //= prime
        prime += 1 if prime == 2 else 2
    if number > 1:
        found[number] = found.get(number, 0) + 1
    return found


def is_certain_prime(number: int, limit: int) -> bool:
    """Whether trial division up to `limit` has shown the number prime."""
    return number <= limit * limit
