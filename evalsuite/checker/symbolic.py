"""SymPy objects built from our own tree, and proofs of equality on them. Runs inside a worker process only.

No text reaches SymPy's parser: every object is made by a constructor, and numbers that would be too wide are refused first.
"""

from typing import Any

from evalsuite.checker.limits import MAX_BITS, MAX_EXPANDED_POWER, MAX_FACTORIAL, TooLargeError, UnreadableError
from evalsuite.checker.tree import Call, Degrees, Name, Negative, Node, Number, Power, Product, Quotient, Sum, variables

_FUNCTIONS = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "acot", "sinh", "cosh", "tanh", "exp", "floor"})
_MAX_OPERATIONS = 400


def prove(gold: Node, pred: Node) -> bool | None:
    """True when SymPy proves the two equal, False when it proves them different, None when it cannot tell."""
    verdict = _prove(gold, pred, {"real": True})
    return True if verdict or _prove(gold, pred, {"positive": True}) else verdict


def _prove(gold: Node, pred: Node, assumed: dict[str, bool]) -> bool | None:
    """Proves under an assumption about every variable.

    Positive variables come second: they prove what holds wherever both sides are real numbers, such as a rule of logarithms,
    and what holds for positive values alone was refuted by numbers before.
    """
    import sympy

    names = {name: sympy.Symbol(name, **assumed) for name in variables(gold) | variables(pred)}
    try:
        difference = to_sympy(gold, names) - to_sympy(pred, names)
    except (UnreadableError, TooLargeError):
        return None
    if difference == 0:
        return True
    if difference.has(sympy.zoo, sympy.nan, sympy.oo):
        return False
    if sympy.count_ops(difference) > _MAX_OPERATIONS:
        return None
    for step in (sympy.expand, sympy.simplify, sympy.radsimp, _trigonometric, _exponential):
        if step(difference) == 0:
            return True
    verdict = difference.equals(0)
    return None if verdict is None else bool(verdict)


def _trigonometric(expression: Any) -> Any:
    import sympy

    return sympy.simplify(sympy.expand(expression, trig=True))


def _exponential(expression: Any) -> Any:
    import sympy

    return sympy.simplify(expression.rewrite(sympy.exp))


def to_sympy(node: Node, names: dict[str, Any]) -> Any:  # one case per kind
    import sympy

    match node:
        case Number(value):
            return sympy.Rational(value.numerator, value.denominator)
        case Name(name):
            constants = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "oo": sympy.oo}
            return constants[name] if name in constants else names[name]
        case Sum(terms):
            return sympy.Add(*(to_sympy(term, names) for term in terms))
        case Product(factors):
            return sympy.Mul(*(to_sympy(factor, names) for factor in factors))
        case Quotient(top, bottom):
            return to_sympy(top, names) / to_sympy(bottom, names)
        case Negative(operand):
            return -to_sympy(operand, names)
        case Degrees(operand):
            return to_sympy(operand, names) * sympy.pi / 180
        case Power(base, exponent):
            return _power(to_sympy(base, names), to_sympy(exponent, names))
        case Call(function, arguments):
            return _call(function, [to_sympy(argument, names) for argument in arguments])
    raise UnreadableError("no expression")


def _power(base: Any, exponent: Any) -> Any:
    if exponent.is_number and base.is_number:
        bits = int(base.p).bit_length() + int(base.q).bit_length() if base.is_Rational else 8
        if abs(exponent.evalf(5)) * bits > MAX_BITS:
            raise TooLargeError("a power that is too wide")
    if base.is_Add and exponent.is_Integer and abs(exponent) > MAX_EXPANDED_POWER:
        raise TooLargeError("a sum to a high power")
    return base**exponent


def _call(function: str, arguments: list[Any]) -> Any:  # one case per kind
    import sympy

    first = arguments[0]
    if function == "sqrt":
        return _power(first, sympy.Rational(1, 2) if len(arguments) == 1 else 1 / arguments[1])
    if function in ("log", "ln"):
        return sympy.log(first) if len(arguments) == 1 else sympy.log(first) / sympy.log(arguments[1])
    if function == "abs":
        return sympy.Abs(first)
    if function == "ceil":
        return sympy.ceiling(first)
    if function in ("factorial", "binomial"):
        if any(argument.is_number and not abs(argument) <= MAX_FACTORIAL for argument in arguments):
            raise TooLargeError(f"a {function} that is too large")
        return getattr(sympy, function)(*arguments)
    if function in ("min", "max"):
        return (sympy.Min if function == "min" else sympy.Max)(*arguments)
    if function in _FUNCTIONS:
        return getattr(sympy, function)(first)
    return sympy.Function(function.replace(":", "_"))(*arguments)
