"""Refutation by numbers: two expressions that differ visibly at a point are different.

Floating point only ever says «different» here, and only by a margin far above its own error; it never says «equal». Points and
sample values are fixed, so an answer never depends on chance.
"""

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final, TypeAlias

from evalsuite.checker.tree import Call, Degrees, Name, Negative, Node, Number, Power, Product, Quotient, Sum, variables

Point: TypeAlias = Mapping[str, complex]

_MARGIN: Final = 1e-7
_POINTS: Final = 7
_STRIDE: Final = math.sqrt(2) - 1
_CONSTANTS: Final = 3


class UndefinedError(ArithmeticError):
    """The expression has no float value at the point, or none that could be trusted."""


class _Evaluator:
    """Evaluates at one point and remembers the largest magnitude met, which bounds the cancellation error."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.real = len(point) > _CONSTANTS
        """With variables, a point where a root or a logarithm leaves the real numbers decides nothing."""
        self.largest = 1.0

    def value(self, node: Node) -> complex:
        result = self._value(node)
        size = abs(result)
        if not math.isfinite(size) or size > 1e100:
            raise UndefinedError("no finite value")
        self.largest = max(self.largest, size)
        return result

    def _value(self, node: Node) -> complex:  # one case per kind
        match node:
            case Number(value):
                return complex(float(value))
            case Name(name):
                return self.point[name]
            case Sum(terms):
                return sum((self.value(term) for term in terms), 0j)
            case Product(factors):
                return math.prod((self.value(factor) for factor in factors), start=complex(1))
            case Quotient(top, bottom):
                return self.value(top) / self._divisor(self.value(bottom))
            case Negative(operand):
                return -self.value(operand)
            case Degrees(operand):
                return self.value(operand) * math.pi / 180
            case Power(base, exponent):
                return self._power(self.value(base), self.value(exponent))
            case Call(function, arguments):
                return self._call(function, [self.value(argument) for argument in arguments])
        raise UndefinedError("no number")

    @staticmethod
    def _divisor(value: complex) -> complex:
        if abs(value) < 1e-9:
            raise UndefinedError("a division by almost zero")
        return value

    def _power(self, base: complex, exponent: complex) -> complex:
        if abs(exponent) > 2_000 or abs(base) < 1e-12:
            raise UndefinedError("a power out of range")
        if exponent.imag == 0 and base.imag == 0 and base.real < 0 and exponent.real != int(exponent.real):
            odd = Fraction(exponent.real).limit_denominator(99)
            if odd.denominator % 2 and abs(odd - Fraction(exponent.real)) < 1e-12:
                return complex((-1) ** odd.numerator * (-base.real) ** exponent.real)
            if self.real:
                raise UndefinedError("a root of a negative number")
        return base**exponent

    def _call(self, function: str, arguments: list[complex]) -> complex:  # one case per kind
        first = arguments[0]
        if function == "sqrt":
            return self._power(first, 1 / arguments[1] if len(arguments) > 1 else 0.5 + 0j) if first else 0j
        if function in ("log", "ln"):
            if abs(first) < 1e-12 or (self.real and first.imag == 0 and first.real < 0):
                raise UndefinedError("a logarithm of zero or less")
            return cmath.log(first) / (self._divisor(cmath.log(arguments[1])) if len(arguments) > 1 else 1)
        if function == "abs":
            return complex(abs(first))
        if function in ("floor", "ceil") and first.imag == 0 and abs(first.real - round(first.real)) > 1e-6:
            return complex(math.floor(first.real) if function == "floor" else math.ceil(first.real))
        if function in ("max", "min") and all(one.imag == 0 for one in arguments):
            return complex((max if function == "max" else min)(one.real for one in arguments))
        if self.real and function in ("asin", "acos") and abs(first) > 1:
            raise UndefinedError("an arc out of range")
        if function in _ELEMENTARY and abs(first) < 1e5:
            return _ELEMENTARY[function](self, first)
        if function == "factorial" and first.imag == 0 and 0 <= first.real < 60:
            return complex(math.gamma(first.real + 1))
        if function.startswith("f:") and abs(first) < 1e3:
            return self._stand_in(function, arguments)
        raise UndefinedError(f"no float value of {function}")

    @staticmethod
    def _stand_in(function: str, arguments: list[complex]) -> complex:
        """A fixed function in place of an unknown one: what differs for it differs."""
        phase = sum(ord(letter) for letter in function) % 97 / 7
        return sum((0.3 * one * one + cmath.sin(1.7 * one + phase + place) for place, one in enumerate(arguments)), 0j)

    def over(self, top: complex, bottom: complex) -> complex:
        return top / self._divisor(bottom)


_ELEMENTARY: Final[dict[str, Callable[[_Evaluator, complex], complex]]] = {
    "sin": lambda _, x: cmath.sin(x),
    "cos": lambda _, x: cmath.cos(x),
    "tan": lambda e, x: e.over(cmath.sin(x), cmath.cos(x)),
    "cot": lambda e, x: e.over(cmath.cos(x), cmath.sin(x)),
    "sec": lambda e, x: e.over(complex(1), cmath.cos(x)),
    "csc": lambda e, x: e.over(complex(1), cmath.sin(x)),
    "asin": lambda _, x: cmath.asin(x),
    "acos": lambda _, x: cmath.acos(x),
    "atan": lambda _, x: cmath.atan(x),
    "acot": lambda e, x: cmath.atan(e.over(complex(1), x)),
    "sinh": lambda _, x: cmath.sinh(x),
    "cosh": lambda _, x: cmath.cosh(x),
    "tanh": lambda _, x: cmath.tanh(x),
    "exp": lambda _, x: cmath.exp(x),
    "cis": lambda _, x: cmath.exp(1j * x),
}


def points(names: frozenset[str]) -> list[Point]:
    """Fixed, generic points: the first ones positive, the last ones of either sign."""
    ordered = sorted(names)
    found: list[Point] = []
    for index in range(_POINTS if ordered else 1):
        point: dict[str, complex] = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}
        for place, name in enumerate(ordered):
            share = (0.137 + (place + 1) * _STRIDE * (index + 1.618)) % 1.0
            sign = -1 if index >= 4 and (index + place) % 2 else 1
            point[name] = complex(sign * (0.31 + 2.6 * share))
        found.append(point)
    return found


def value(node: Node) -> float | None:
    """The real value of a constant expression, for ordering end points; None when it has none."""
    (point,) = points(frozenset())
    try:
        result = _Evaluator(point).value(node)
    except (ArithmeticError, KeyError, ValueError):
        return None
    return result.real if abs(result.imag) < 1e-9 * (1 + abs(result.real)) else None


def differ(first: Node, second: Node) -> bool:
    """Whether some point shows that the two are different."""
    for point in points(variables(first) | variables(second)):
        evaluator = _Evaluator(point)
        try:
            gap = abs(evaluator.value(first) - evaluator.value(second))
        except (ArithmeticError, KeyError, ValueError):
            continue
        if gap > _MARGIN * evaluator.largest:
            return True
    return False
