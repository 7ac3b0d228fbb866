"""Sets of real numbers: intervals, unions, inequalities in one variable, and whether two of them are the same set.

Ends are ordered by their float values and compared exactly, so a set is never equal to one that is merely close.
"""

from dataclasses import dataclass
from typing import Final

from evalsuite.checker import approx
from evalsuite.checker.answers import Alternatives, Answer, Expression, Listing, Relation
from evalsuite.checker.tree import Braces, Name, Negative, Node, Number, Product, Sequence, SetOperation, Sum, variables

_INFINITY: Final = Name("oo")
_MINUS_INFINITY: Final = Negative(Name("oo"))
_FLIP: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Piece:
    """One interval; a single point is closed at both ends with `low is high`."""

    low: Node
    low_closed: bool
    high: Node
    high_closed: bool
    start: float
    stop: float


@dataclass(frozen=True, slots=True)
class Region:
    pieces: tuple[Piece, ...]
    variable: str = ""


def _value(node: Node) -> float | None:
    if node == _INFINITY:
        return float("inf")
    if isinstance(node, Negative) and node.operand == _INFINITY:
        return float("-inf")
    return approx.value(node)


def _piece(low: Node, low_closed: bool, high: Node, high_closed: bool) -> Piece | None:
    start, stop = _value(low), _value(high)
    if start is None or stop is None or start > stop:
        return None
    return Piece(low, low_closed, high, high_closed, start, stop)


def region_of(answer: Answer) -> Region | None:
    """The set of real numbers that an answer describes, or None when it describes none that can be ordered."""
    match answer:
        case Expression(node, (), name):
            pieces = _of_node(node)
            return None if pieces is None else Region(_merged(pieces), "" if name == "?" else name)
        case Relation():
            return _of_relation(answer)
        case Alternatives(word, relations):
            return _of_alternatives(word, [_of_relation(relation) for relation in relations])
        case Listing(members):
            regions = [region_of(member) for member in members]
            if any(isinstance(member, Relation) for member in members):
                return _of_alternatives("or", regions)
    return None


def _of_alternatives(word: str, regions: list[Region | None]) -> Region | None:
    known = [region for region in regions if region is not None]
    names = {region.variable for region in known if region.variable}
    if len(known) != len(regions) or len(names) > 1:
        return None
    if word == "or":
        joined = [piece for region in known for piece in region.pieces]
    else:
        joined = list(known[0].pieces)
        for region in known[1:]:
            joined = [both for first in joined for second in region.pieces if (both := _intersection(first, second)) is not None]
        if not joined and word == ",":
            joined = [piece for region in known for piece in region.pieces]
    return Region(_merged(joined), next(iter(names), ""))


def _of_node(node: Node) -> list[Piece] | None:  # one case per kind
    match node:
        case Name("set:R"):
            return _kept(_piece(_MINUS_INFINITY, False, _INFINITY, False))
        case Name("set:empty") | Braces(()):
            return []
        case Sequence(left, (low, high), right):
            return _kept(_piece(low, left == "[", high, right == "]"))
        case Braces(members):
            points = [_piece(member, True, member, True) for member in members]
            return None if any(point is None for point in points) else [point for point in points if point is not None]
        case SetOperation(operator, left_node, right_node):
            first, second = _of_node(left_node), _of_node(right_node)
            if first is None or second is None:
                return None
            if operator == "∪":
                return first + second
            if operator == "∩":
                return [both for one in first for other in second if (both := _intersection(one, other)) is not None]
            return [rest for one in first for rest in _minus(one, second)]
    return None


def _kept(piece: Piece | None) -> list[Piece] | None:
    return None if piece is None else [piece]


def _of_relation(relation: Relation) -> Region | None:
    """`a < x <= b`, `x > a`, `x != a` and their mirror images, also with a numeric factor at the variable."""
    names = {name for side in relation.sides for name in variables(side)}
    if len(names) != 1 or len(relation.signs) > 2:
        return None
    (name,) = names
    if len(relation.signs) == 1:
        left, right = relation.sides
        pieces = _half_line(left, relation.signs[0], right) if variables(left) else _half_line(right, _FLIP[relation.signs[0]], left)
        return None if pieces is None else Region(_merged(pieces), name)
    low, middle, high = relation.sides
    if variables(low) or variables(high) or not isinstance(middle, Name):
        return None
    first, second = _half_line(middle, _FLIP[relation.signs[0]], low), _half_line(middle, relation.signs[1], high)
    if first is None or second is None:
        return None
    joined = [both for one in first for other in second if (both := _intersection(one, other)) is not None]
    return Region(_merged(joined), name)


def _half_line(variable: Node, sign: str, bound: Node) -> list[Piece] | None:  # one case per kind
    if variables(bound):
        return None
    if isinstance(variable, Negative):
        return _half_line(variable.operand, _FLIP[sign], Negative(bound))
    if isinstance(variable, Product) and len(variable.factors) == 2 and isinstance(variable.factors[0], Number):
        factor = variable.factors[0].value
        if factor:
            return _half_line(variable.factors[1], sign, Product((Number(1 / factor), bound)))
    if isinstance(variable, Sum) and len(variable.terms) == 2 and not variables(variable.terms[1]):
        return _half_line(variable.terms[0], sign, Sum((bound, Negative(variable.terms[1]))))
    if not isinstance(variable, Name):
        return None
    if sign in ("<", "<="):
        return _kept(_piece(_MINUS_INFINITY, False, bound, sign == "<="))
    if sign in (">", ">="):
        return _kept(_piece(bound, sign == ">=", _INFINITY, False))
    if sign == "=":
        return _kept(_piece(bound, True, bound, True))
    below, above = _piece(_MINUS_INFINITY, False, bound, False), _piece(bound, False, _INFINITY, False)
    return None if below is None or above is None else [below, above]


def _intersection(first: Piece, second: Piece) -> Piece | None:
    low = max((first, second), key=lambda piece: (piece.start, not piece.low_closed))
    high = min((first, second), key=lambda piece: (piece.stop, piece.high_closed))
    if low.start > high.stop or (low.start == high.stop and not (low.low_closed and high.high_closed)):
        return None
    return Piece(low.low, low.low_closed, high.high, high.high_closed, low.start, high.stop)


def _minus(piece: Piece, others: list[Piece]) -> list[Piece]:
    rest = [piece]
    for other in others:
        before = Piece(_MINUS_INFINITY, False, other.low, not other.low_closed, float("-inf"), other.start)
        after = Piece(other.high, not other.high_closed, _INFINITY, False, other.stop, float("inf"))
        rest = [both for one in rest for side in (before, after) if (both := _intersection(one, side)) is not None]
    return rest


def _merged(pieces: list[Piece]) -> tuple[Piece, ...]:
    """The pieces in order, with those that touch or overlap joined."""
    found: list[Piece] = []
    for piece in sorted(pieces, key=lambda one: (one.start, not one.low_closed)):
        last = found[-1] if found else None
        touching = last is not None and (piece.start < last.stop or (piece.start == last.stop and (piece.low_closed or last.high_closed)))
        if last is None or not touching:
            found.append(piece)
            continue
        longer = piece if (piece.stop, piece.high_closed) > (last.stop, last.high_closed) else last
        found[-1] = Piece(last.low, last.low_closed, longer.high, longer.high_closed, last.start, longer.stop)
    return tuple(found)
