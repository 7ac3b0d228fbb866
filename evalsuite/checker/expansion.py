"""Plus-minus signs spelled out: one expression with signs becomes the list of its values."""

from collections.abc import Iterator
from itertools import product

from evalsuite.checker.answers import Answer, Expression, Listing
from evalsuite.checker.limits import MAX_SIGNS, TooLargeError
from evalsuite.checker.tree import (
    Braces,
    Call,
    Degrees,
    Matrix,
    Negative,
    Node,
    PlusMinus,
    Power,
    Product,
    Quotient,
    Sequence,
    SetOperation,
    Sum,
    walk,
)


def expanded(answer: Answer) -> Answer:
    """The answer without plus-minus signs; the members of lists that they make are merged into their list."""
    if isinstance(answer, Expression):
        return _of_expression(answer)
    if isinstance(answer, Listing):
        members: list[Answer] = []
        for member in answer.members:
            values = expanded(member)
            members.extend(values.members if isinstance(values, Listing) else (values,))
        return Listing(tuple(members))
    return answer


def _of_expression(answer: Expression) -> Answer:
    signs = [part for part in walk(answer.node) if isinstance(part, PlusMinus)]
    if not signs:
        return answer
    if isinstance(answer.node, Braces):
        members = [value for member in answer.node.members for value in _values(member)]
        return Expression(Braces(tuple(members)), answer.unit, answer.name)
    values = _values(answer.node)
    if len(values) == 1:
        return Expression(values[0], answer.unit, answer.name)
    return Listing(tuple(Expression(value, answer.unit, answer.name) for value in values))


def _values(node: Node) -> list[Node]:
    signs = [part for part in walk(node) if isinstance(part, PlusMinus)]
    linked = any(part.flipped for part in signs)
    count = min(len(signs), 1) if linked else len(signs)
    if count > MAX_SIGNS:
        raise TooLargeError(f"more than {MAX_SIGNS} plus-minus signs")
    found: list[Node] = []
    for choice in product((True, False), repeat=count):
        value = _chosen(node, iter(choice * len(signs) if linked else choice))
        if value not in found:
            found.append(value)
    return found


def _chosen(node: Node, signs: Iterator[bool]) -> Node:
    """The node with each sign replaced, in writing order."""

    def visit(part: Node) -> Node:  # one case per kind
        match part:
            case PlusMinus(operand, flipped):
                positive = next(signs)
                inner = visit(operand)
                return inner if positive != flipped else Negative(inner)
            case Sum(terms):
                return Sum(tuple(visit(term) for term in terms))
            case Product(factors):
                return Product(tuple(visit(factor) for factor in factors))
            case Quotient(top, bottom):
                return Quotient(visit(top), visit(bottom))
            case Power(base, exponent):
                return Power(visit(base), visit(exponent))
            case Negative(operand):
                return Negative(visit(operand))
            case Degrees(operand):
                return Degrees(visit(operand))
            case Call(function, arguments):
                return Call(function, tuple(visit(argument) for argument in arguments))
            case Sequence(left, members, right):
                return Sequence(left, tuple(visit(member) for member in members), right)
            case Braces(members):
                return Braces(tuple(visit(member) for member in members))
            case Matrix(rows):
                return Matrix(tuple(tuple(visit(entry) for entry in row) for row in rows))
            case SetOperation(operator, left_node, right_node):
                return SetOperation(operator, visit(left_node), visit(right_node))
        return part

    return visit(node)
