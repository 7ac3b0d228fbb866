"""The syntax tree of one mathematical expression. It holds what was written and knows no values.

`Number` keeps the decimals that were written, because a gold answer's precision matters to the rounding rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Number:
    value: Fraction
    decimals: int = 0
    """Digits written after the decimal point; 0 for an integer."""
    digits: int = 0
    """Significant digits written."""


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, a constant (`pi`, `e`, `i`, `oo`) or a named object such as a segment."""

    name: str


@dataclass(frozen=True, slots=True)
class Sum:
    terms: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Product:
    factors: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Quotient:
    top: "Node"
    bottom: "Node"


@dataclass(frozen=True, slots=True)
class Power:
    base: "Node"
    exponent: "Node"


@dataclass(frozen=True, slots=True)
class Negative:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of its arguments: `sqrt`, `sin`, `log`, `abs`, `factorial`, `binomial`, or an unknown `f`."""

    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class PlusMinus:
    """`\\pm operand` (or `\\mp` when `flipped`): two values."""

    operand: "Node"
    flipped: bool = False


@dataclass(frozen=True, slots=True)
class Degrees:
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Sequence:
    """Members between two brackets: a point, an interval or a vector, which only the brackets tell apart."""

    left: str
    members: tuple["Node", ...]
    right: str


@dataclass(frozen=True, slots=True)
class Braces:
    """A finite set."""

    members: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple["Node", ...], ...]


@dataclass(frozen=True, slots=True)
class SetOperation:
    """`cup`, `cap` or `setminus` of two sets."""

    operator: str
    left: "Node"
    right: "Node"


Node: TypeAlias = (
    Number | Name | Sum | Product | Quotient | Power | Negative | Call | PlusMinus | Degrees | Sequence | Braces | Matrix | SetOperation
)


def children(node: Node) -> tuple[Node, ...]:  # one case per kind
    match node:
        case Number() | Name():
            return ()
        case Sum(parts) | Product(parts) | Braces(parts):
            return parts
        case Quotient(first, second) | Power(first, second):
            return (first, second)
        case Negative(operand) | Degrees(operand) | PlusMinus(operand, _):
            return (operand,)
        case Call(_, arguments):
            return arguments
        case Sequence(_, members, _):
            return members
        case Matrix(rows):
            return tuple(entry for row in rows for entry in row)
        case SetOperation(_, left, right):
            return (left, right)


def walk(node: Node) -> Iterator[Node]:
    """Every node, parents first."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(children(current)))


CONSTANTS = frozenset({"pi", "e", "i", "oo"})


def variables(node: Node) -> frozenset[str]:
    return frozenset(part.name for part in walk(node) if isinstance(part, Name) and part.name not in CONSTANTS)


def is_scalar(node: Node) -> bool:
    """Whether the node is one number or expression, not a point, set or matrix."""
    return not any(isinstance(part, Sequence | Braces | Matrix | SetOperation) for part in walk(node))
