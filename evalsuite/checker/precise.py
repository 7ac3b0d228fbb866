"""Real constants to many digits, for the rounding rule, through mpmath (which is SymPy's own arithmetic, not SymPy)."""

from fractions import Fraction
from importlib import import_module
from typing import Any

from evalsuite.checker.limits import MAX_BITS, TooLargeError
from evalsuite.checker.tree import Call, Degrees, Name, Negative, Node, Number, Power, Product, Quotient, Sum


class UndefinedError(ArithmeticError):
    """The expression is no real constant that can be evaluated here."""


def enclose(node: Node, digits: int) -> tuple[Fraction, Fraction]:
    """Two rational numbers around the value, about `digits` decimal digits apart from it."""
    mpmath: Any = import_module("mpmath")

    if digits > 400:
        raise TooLargeError("more than 400 digits")
    context = mpmath.MPContext()
    context.dps = digits + 20
    value = _value(node, context)
    if isinstance(value, context.mpc):
        if abs(value.imag) > context.mpf(10) ** -(digits + 5):
            raise UndefinedError("not a real number")
        value = value.real
    if not context.isfinite(value):
        raise UndefinedError("not finite")
    exact = _fraction(value)
    slack = (abs(exact) + 1) / Fraction(10) ** (digits + 5)
    return exact - slack, exact + slack


def _fraction(value: Any) -> Fraction:
    sign, mantissa, exponent, _ = value._mpf_
    size = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return -size if sign else size


def _value(node: Node, context: Any) -> Any:  # one case per kind
    match node:
        case Number(value):
            return context.mpf(value.numerator) / value.denominator
        case Name("pi"):
            return +context.pi
        case Name("e"):
            return +context.e
        case Sum(terms):
            return context.fsum([_value(term, context) for term in terms])
        case Product(factors):
            return context.fprod([_value(factor, context) for factor in factors])
        case Quotient(top, bottom):
            below = _value(bottom, context)
            if below == 0:
                raise UndefinedError("a division by zero")
            return _value(top, context) / below
        case Negative(operand):
            return -_value(operand, context)
        case Degrees(operand):
            return _value(operand, context) * context.pi / 180
        case Power(base, exponent):
            return _power(_value(base, context), _value(exponent, context), context)
        case Call(function, arguments):
            return _call(function, [_value(argument, context) for argument in arguments], context)
    raise UndefinedError("no real constant")


def _power(base: Any, exponent: Any, context: Any) -> Any:
    if abs(exponent) > MAX_BITS:
        raise TooLargeError("a power out of range")
    if base == 0 and exponent.real <= 0:
        raise UndefinedError("a division by zero")
    return context.power(base, exponent)


def _call(function: str, arguments: list[Any], context: Any) -> Any:
    first = arguments[0]
    if function == "sqrt":
        return context.sqrt(first) if len(arguments) == 1 else _power(first, 1 / arguments[1], context)
    if function in ("log", "ln") and first > 0:
        return context.log(first) / (context.log(arguments[1]) if len(arguments) > 1 else 1)
    if function in ("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp") and abs(first) < 10**4:
        return getattr(context, function)(first)
    raise UndefinedError(f"no value of {function}")
