"""Formulas over named scores, such as `0.7 * answer + 0.3 * style`. Read by Python's parser, computed by our own walk over what is allowed.

Numbers, names, `+ - * / ^`, and a few functions; nothing else. `^` is the power, as in OpenAI's formulas. All numbers are floats, so that
no result can grow without bound.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

MAX_CHARS = 1_000
FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
SEVERAL = frozenset({"min", "max"})
_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[float], float]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


class NoResultError(ArithmeticError):
    """The formula has no value for these scores."""


def names(text: str) -> frozenset[str]:
    """The scores that a formula uses. Raises ValueError for whatever is no formula."""
    found: set[str] = set()
    _check(_parsed(text), found)
    return frozenset(found)


def evaluate(text: str, scores: Mapping[str, float]) -> float:
    """The formula's value. Raises NoResultError for a division by zero, a root of a negative number, an overflow."""
    try:
        value = float(_value(_parsed(text), scores))
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        raise NoResultError(f"{text} has no result for {dict(scores)}: {error}") from error
    if not math.isfinite(value):
        raise NoResultError(f"{text} is {value} for {dict(scores)}")
    return value


def _parsed(text: str) -> ast.expr:
    if len(text) > MAX_CHARS:
        raise ValueError(f"expected at most {MAX_CHARS} characters, found {len(text)}")
    if "**" in text or "//" in text:
        raise ValueError(f"{text!r}: expected `^` for a power, and no `//`")
    try:
        return ast.parse(text.strip().replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"{text!r}: not a formula") from None


def _check(node: ast.expr, found: set[str]) -> None:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Name():
            found.add(node.id)
        case ast.UnaryOp() if type(node.op) in _UNARY:
            _check(node.operand, found)
        case ast.BinOp() if type(node.op) in _BINARY:
            _check(node.left, found)
            _check(node.right, found)
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
            if not node.args or (len(node.args) > 1) != (name in SEVERAL):
                raise ValueError(f"{ast.unparse(node)!r}: expected {'several numbers' if name in SEVERAL else 'one number'}")
            for argument in node.args:
                _check(argument, found)
        case _:
            allowed = ", ".join(FUNCTIONS)
            raise ValueError(f"{ast.unparse(node)!r}: expected numbers, names of graders, + - * / ^, or one of {allowed}")


def _value(node: ast.expr, scores: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name():
            return scores[node.id]
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_value(node.operand, scores))
        case ast.BinOp():
            return _BINARY[type(node.op)](_value(node.left, scores), _value(node.right, scores))
        case ast.Call(func=ast.Name(id=name)):
            return float(FUNCTIONS[name](*(_value(argument, scores) for argument in node.args)))
    raise AssertionError(f"{ast.unparse(node)} was not checked")
