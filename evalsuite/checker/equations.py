"""Equations and inequalities as objects: two are one when they differ by a non-zero factor."""

from fractions import Fraction

from evalsuite.checker import polynomial as poly
from evalsuite.checker.algebra import Normal
from evalsuite.checker.answers import Relation
from evalsuite.checker.judge import Judge
from evalsuite.checker.limits import TooLargeError, UnreadableError
from evalsuite.checker.polynomial import Polynomial
from evalsuite.checker.ratio import Ratio, plus, scaled

_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!=", "≡": "≡"}
_STRICT = frozenset({"<", ">", "<=", ">="})


def same_relation(gold: Relation, pred: Relation, judge: Judge) -> bool | None:
    verdict = _same_sides(gold, pred, judge)
    if verdict is not False or len(gold.signs) != 1 or len(pred.signs) != 1:
        return verdict
    return _proportional(gold, pred)


def _same_sides(gold: Relation, pred: Relation, judge: Judge) -> bool | None:
    """Whether the sides agree one by one, read forwards or backwards."""
    if len(gold.sides) != len(pred.sides):
        return False
    unknown = False
    mirrored = Relation(pred.sides[::-1], tuple(_FLIP.get(sign, sign) for sign in reversed(pred.signs)))
    for other in (pred, mirrored):
        if other.signs != gold.signs:
            continue
        verdicts = [judge.expressions(one, two) for one, two in zip(gold.sides, other.sides, strict=True)]
        if all(verdicts):
            return True
        unknown = unknown or False not in verdicts
    return None if unknown else False


def _proportional(gold: Relation, pred: Relation) -> bool | None:
    sign, other = gold.signs[0], pred.signs[0]
    if other not in (sign, _FLIP[sign]):
        return False
    normal = Normal()
    try:
        first, second = _cleared(_difference(normal, gold)), _cleared(_difference(normal, pred))
    except (UnreadableError, TooLargeError):
        return False
    if not first or not second or set(first) != set(second):
        return False
    ratio = next(iter(first.values())) / second[next(iter(first))]
    if any(first[monomial] != ratio * second[monomial] for monomial in first):
        return False
    if sign not in _STRICT:
        return True
    return (ratio > 0) == (sign == other)


def _difference(normal: Normal, relation: Relation) -> Ratio:
    left, right = (normal.of(side) for side in relation.sides)
    ratio = plus(left, scaled(right, Fraction(-1)))
    if relation.signs[0] in _STRICT and set(ratio.bottom) != {poly.ONE}:
        raise UnreadableError("an inequality with a variable divisor")
    return ratio


def _cleared(ratio: Ratio) -> Polynomial:
    """The numerator, with the lowest power of every variable divided out when it is negative."""
    lowest: dict[str, Fraction] = {}
    for monomial in ratio.top:
        for name, power in monomial:
            if power < 0 and name[0] != "#":
                lowest[name] = min(lowest.get(name, Fraction(0)), power)
    if not lowest:
        return ratio.top
    factor = {tuple(sorted((name, -power) for name, power in lowest.items())): Fraction(1)}
    return poly.multiply(ratio.top, factor)
