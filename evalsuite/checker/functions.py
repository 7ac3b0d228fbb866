"""Functions of rational numbers that have rational values."""

from fractions import Fraction
from math import comb, gcd

from evalsuite.checker.limits import MAX_FACTORIAL, TooLargeError


def numeric_call(function: str, numbers: list[Fraction]) -> Fraction | None:  # one case per kind
    first = numbers[0]
    whole = all(number.denominator == 1 for number in numbers)
    match function:
        case "abs":
            return abs(first)
        case "floor":
            return Fraction(first.numerator // first.denominator)
        case "ceil":
            return Fraction(-(-first.numerator // first.denominator))
        case "max":
            return max(numbers)
        case "min":
            return min(numbers)
        case "factorial" if whole and first >= 0:
            if first > MAX_FACTORIAL:
                raise TooLargeError(f"a factorial of more than {MAX_FACTORIAL}")
            value = 1
            for step in range(2, first.numerator + 1):
                value *= step
            return Fraction(value)
        case "binomial" if whole and len(numbers) == 2 and 0 <= numbers[1] <= first:
            if first > MAX_FACTORIAL:
                raise TooLargeError(f"a binomial coefficient of more than {MAX_FACTORIAL}")
            return Fraction(comb(first.numerator, numbers[1].numerator))
        case "gcd" if whole:
            return Fraction(gcd(*(number.numerator for number in numbers)))
    return None
