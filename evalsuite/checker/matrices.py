"""Arithmetic of matrices and points: sums, products and multiples are carried out on the trees of their entries."""

from collections.abc import Callable
from typing import TypeAlias

from evalsuite.checker.limits import MAX_MEMBERS, TooLargeError, UnreadableError
from evalsuite.checker.tree import Matrix, Negative, Node, Product, Quotient, Sequence, Sum, walk

Rows: TypeAlias = tuple[tuple[Node, ...], ...]


def has_matrix(node: Node) -> bool:
    """Whether a matrix takes part, or a point takes part in arithmetic."""
    if isinstance(node, Sum | Product | Quotient | Negative):
        return any(isinstance(part, Matrix | Sequence) for part in walk(node))
    return isinstance(node, Matrix)


def evaluated(node: Node) -> Node:
    """The node with the arithmetic of matrices and points carried out."""
    match node:
        case Matrix() | Sequence():
            return node
        case Negative(operand):
            return _scaled(Negative, evaluated(operand))
        case Quotient(top, bottom):
            return _scaled(lambda entry: Quotient(entry, bottom), evaluated(top))
        case Sum(terms):
            total = evaluated(terms[0])
            for term in terms[1:]:
                total = _added(total, evaluated(term))
            return total
        case Product(factors):
            result: Node | None = None
            for factor in factors:
                result = factor if result is None else _multiplied(result, factor)
            assert result is not None
            return result
    return node


def _scaled(change: Callable[[Node], Node], node: Node) -> Node:
    if isinstance(node, Matrix):
        return Matrix(tuple(tuple(change(entry) for entry in row) for row in node.rows))
    if isinstance(node, Sequence):
        return Sequence(node.left, tuple(change(member) for member in node.members), node.right)
    return change(node)


def _added(first: Node, second: Node) -> Node:
    if isinstance(first, Sequence) and isinstance(second, Sequence) and len(first.members) == len(second.members):
        return Sequence(first.left, tuple(Sum(pair) for pair in zip(first.members, second.members, strict=True)), first.right)
    if not (isinstance(first, Matrix) and isinstance(second, Matrix)) or _shape(first.rows) != _shape(second.rows):
        raise UnreadableError("a sum of objects of different shapes")
    rows = zip(first.rows, second.rows, strict=True)
    return Matrix(tuple(tuple(Sum(pair) for pair in zip(one, other, strict=True)) for one, other in rows))


def _multiplied(first: Node, second: Node) -> Node:
    first, second = evaluated(first), evaluated(second)
    if isinstance(first, Matrix) and isinstance(second, Matrix):
        if len(first.rows[0]) != len(second.rows):
            raise UnreadableError("a product of matrices whose shapes do not fit")
        if len(first.rows) * len(second.rows) * len(second.rows[0]) > MAX_MEMBERS * 5:
            raise TooLargeError("a product of large matrices")
        columns = tuple(zip(*second.rows, strict=True))
        return Matrix(
            tuple(tuple(Sum(tuple(Product(pair) for pair in zip(row, column, strict=True))) for column in columns) for row in first.rows)
        )
    if isinstance(second, Matrix | Sequence):
        return _scaled(lambda entry: Product((first, entry)), second)
    if isinstance(first, Matrix | Sequence):
        return _scaled(lambda entry: Product((entry, second)), first)
    return Product((first, second))


def _shape(rows: Rows) -> tuple[int, int]:
    return len(rows), len(rows[0])


def entries(node: Node, beside: Node) -> Rows | None:
    """The rows of a matrix. A point or a bracketed list beside a column or a row takes its shape."""
    if isinstance(node, Matrix):
        return node.rows
    if not isinstance(node, Sequence) or (node.left, node.right) not in (("(", ")"), ("[", "]")):
        return None
    if all(isinstance(member, Sequence) for member in node.members):
        return tuple(member.members for member in node.members if isinstance(member, Sequence))
    if isinstance(beside, Matrix) and len(beside.rows) == 1:
        return (node.members,)
    return tuple((member,) for member in node.members)
