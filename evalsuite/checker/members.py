"""One member of an answer: an assignment, an equation, a membership, an inequality or a value."""

from typing import Final

from evalsuite.checker.answers import Answer, Expression, Relation
from evalsuite.checker.grammar import parse
from evalsuite.checker.judge import Judge
from evalsuite.checker.limits import UnreadableError
from evalsuite.checker.phrases import trimmed
from evalsuite.checker.quantities import quantity
from evalsuite.checker.rounding import rounds_to
from evalsuite.checker.tokens import Token
from evalsuite.checker.tree import Call, Name, Number, Product, Sequence, is_scalar, variables

_RELATIONS: Final = frozenset({"=", "<", ">", "<=", ">=", "!=", "≈", "≡"})


def read_member(tokens: list[Token]) -> Answer:
    tokens = trimmed(tokens)
    if not tokens:
        raise UnreadableError("an empty member")
    angle = tokens[0].kind == "op" and tokens[0].text == "<" and tokens[-1].kind == "op" and tokens[-1].text == ">"
    if angle:
        tokens = [Token("open", "<"), *tokens[1:-1], Token("close", ">")]
    builder = _set_builder(tokens)
    if builder is not None:
        return read_member(builder)
    sides, signs = _sides(tokens)
    if not signs:
        return quantity(tokens)
    if "∈" in signs:
        return _membership(sides, signs)
    if "≈" in signs:
        sides, signs = _before_approximation(sides, signs)
        if not signs:
            return quantity(sides[0])
    if set(signs) == {"="}:
        return _equation(sides)
    if len(sides[-1]) == 0 or len(sides[0]) == 0:
        raise UnreadableError("a relation without one of its sides")
    expressions = [quantity(side) for side in sides]
    nodes = tuple(one.node for one in expressions if isinstance(one, Expression))
    if len(nodes) != len(sides):
        raise UnreadableError("a relation between words")
    return Relation(nodes, tuple(signs))


def _membership(sides: list[list[Token]], signs: list[str]) -> Answer:
    """`x in S` is the set, with the name of its variable."""
    if signs != ["∈"]:
        raise UnreadableError("more than one membership sign")
    found = quantity(sides[1])
    return Expression(found.node, found.unit, label_of(sides[0]) or "?") if isinstance(found, Expression) else found


def _before_approximation(sides: list[list[Token]], signs: list[str]) -> tuple[list[list[Token]], list[str]]:
    """The exact part of `x = 1/3 ≈ 0.33`; `x ≈ 5` gives its value to `x`."""
    place = signs.index("≈")
    if place == 0 and label_of(sides[0]):
        return sides[:2], ["="]
    return sides[: place + 1], signs[:place]


def _set_builder(tokens: list[Token]) -> list[Token] | None:
    """The condition of `{x | condition}`."""
    if not (tokens[0].kind == "open" and tokens[0].text == "{" and tokens[-1].kind == "close" and tokens[-1].text == "}"):
        return None
    for place, token in enumerate(tokens[1:6], start=1):
        if token.kind == "op" and token.text in "|:" and tokens[1].kind == "name":
            return tokens[place + 1 : -1]
    return None


def _sides(tokens: list[Token]) -> tuple[list[list[Token]], list[str]]:
    sides: list[list[Token]] = [[]]
    signs: list[str] = []
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token.kind in ("open", "begin")) - (token.kind in ("close", "end"))
        member = token.text == "∈" or (token.kind == "word" and token.text == "in" and place and _bracketed(tokens[place + 1 :]))
        if depth == 0 and ((token.kind == "op" and token.text in _RELATIONS) or member):
            signs.append("∈" if member else token.text)
            sides.append([])
        else:
            sides[-1].append(token)
    return sides, signs


def _bracketed(tokens: list[Token]) -> bool:
    return bool(tokens) and tokens[0].kind == "open"


def _equation(sides: list[list[Token]]) -> Answer:
    """`x = 5` is a value with a name; a chain has the value of its last side; anything else is an equation."""
    label = label_of(sides[0])
    last = quantity(sides[-1])
    if not isinstance(last, Expression):
        if label or any(token.text == ":" for token in sides[0]):
            return last
        raise UnreadableError("an equation with words")
    last = _exact(last, sides)
    names = variables(last.node)
    if label and label not in names:
        return Expression(last.node, last.unit, label)
    first = quantity(sides[0])
    if not isinstance(first, Expression):
        raise UnreadableError("an equation with words")
    if isinstance(first.node, Sequence) and all(isinstance(member, Name) for member in first.node.members):
        return Expression(last.node, last.unit, "?")
    if not variables(first.node) and not isinstance(first.node, Sequence) and len(names) == 0:
        if not is_scalar(first.node) or not is_scalar(last.node) or Judge().expressions(first.node, last.node) is False:
            raise UnreadableError("an equation between different numbers")
        return Expression(last.node, last.unit)
    reverse = label_of(sides[-1])
    if reverse and len(sides) == 2 and not variables(first.node):
        return Expression(first.node, first.unit, reverse)
    if len(sides) > 2:
        raise UnreadableError("a chain of equations")
    return Relation((first.node, last.node), ("=",))


def _exact(last: Expression, sides: list[list[Token]]) -> Expression:
    """The last side of a chain, or the one before it when the last is a decimal that was rounded from it."""
    if not isinstance(last.node, Number) or not last.node.decimals:
        return last
    try:
        before = quantity(sides[-2])
    except UnreadableError:
        return last
    if isinstance(before, Expression) and is_scalar(before.node) and is_scalar(last.node) and rounds_to(last.node, before.node):
        return Expression(before.node, before.unit or last.unit)
    return last


def label_of(tokens: list[Token]) -> str:  # one case per kind
    """The name on the left of an assignment: a variable, an applied function, a short run of capitals or words; else empty."""
    if not tokens or len(tokens) > 12:
        return ""
    if len(tokens) == 1 and tokens[0].kind == "letters":
        return tokens[0].text if tokens[0].text.isupper() else ""
    if all(token.kind in ("word", "text", "letters", "deg") for token in tokens):
        return " ".join(token.text for token in tokens).lower()
    try:
        node = parse([token for token in tokens if token.kind not in ("word", "text")])
    except UnreadableError:
        return ""
    if isinstance(node, Name):
        return "" if node.name in ("pi", "e", "oo") else node.name
    if isinstance(node, Call) and node.function.startswith("f:"):
        return node.function if all(isinstance(one, Name) for one in node.arguments) else f"{node.function}({len(tokens)})"
    if isinstance(node, Product) and all(isinstance(factor, Name) for factor in node.factors) and len(node.factors) <= 4:
        text = "".join(token.text for token in tokens)
        if tokens[1].text == "(" and len(node.factors) == 2:
            return "f:" + text[0]
        if text.removeprefix("m").isupper() and text.isalpha():
            return text
    return ""
