"""The rounding rule: when a decimal gold answer stands for the value that was rounded to it.

A gold decimal of at least three significant digits stands for the values that round to it (half up) in two cases only:
the prediction is exact and cannot be a decimal of that length (a fraction that does not terminate there, a root, pi), or it is a
decimal with at least three further places that are not all but zero. An integer never stands for anything but itself,
and a rounded prediction never stands for an exact gold answer.
"""

from fractions import Fraction
from typing import Final

from evalsuite.checker.algebra import Normal
from evalsuite.checker.limits import TooLargeError, UnreadableError
from evalsuite.checker.precise import UndefinedError, enclose
from evalsuite.checker.tree import Negative, Node, Number, Power, Product, variables

_MIN_DIGITS: Final = 3
_MORE_PLACES: Final = 3
_CLOSE: Final = Fraction(1, 100)


def rounds_to(gold: Node, pred: Node) -> bool:
    """Whether `gold` is a rounded decimal and `pred` the value behind it."""
    written = _decimal(gold)
    if written is None or variables(pred):
        return False
    value, step, digits = written
    if digits < _MIN_DIGITS:
        return False
    other = _decimal(pred)
    if other is not None:
        gap = abs(other[0] - value)
        return step >= other[1] * 10**_MORE_PLACES and gap >= step * _CLOSE and _half_up(other[0], step) == value
    if _whole(pred):
        return False
    try:
        low, high = enclose(pred, digits + 10)
    except (UndefinedError, UnreadableError, TooLargeError):
        return False
    return _half_up(low, step) == value == _half_up(high, step)


def _half_up(value: Fraction, step: Fraction) -> Fraction:
    scaled = abs(value) / step + Fraction(1, 2)
    whole = step * (scaled.numerator // scaled.denominator)
    return whole if value >= 0 else -whole


def _whole(node: Node) -> bool:
    """Whether the value is an integer or a decimal that terminates within a few places: such a value was not rounded."""
    try:
        value = Normal().of(node).number
    except (UnreadableError, TooLargeError):
        return True
    return value is not None and (value * 10**4).denominator == 1


def _decimal(node: Node) -> tuple[Fraction, Fraction, int] | None:
    """The value, the unit in the last place and the digits of a written decimal, with or without a power of ten."""
    if isinstance(node, Negative):
        inner = _decimal(node.operand)
        return None if inner is None else (-inner[0], inner[1], inner[2])
    if isinstance(node, Number) and node.decimals:
        return node.value, Fraction(1, 10**node.decimals), node.digits
    if isinstance(node, Product) and len(node.factors) == 2:
        mantissa, power = node.factors
        if isinstance(mantissa, Number) and mantissa.decimals and isinstance(power, Power) and power.base == Number(Fraction(10), 0, 2):
            exponent = _exponent(power.exponent)
            if exponent is not None and abs(exponent) <= 400:
                scale = Fraction(10) ** exponent
                return mantissa.value * scale, scale / 10**mantissa.decimals, mantissa.digits
    return None


def _exponent(node: Node) -> int | None:
    if isinstance(node, Negative):
        inner = _exponent(node.operand)
        return None if inner is None else -inner
    return node.value.numerator if isinstance(node, Number) and node.value.denominator == 1 else None
