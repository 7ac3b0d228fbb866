"""A value with its unit: trailing words, signs of percentage, currency and degree, scales and proportions."""

from fractions import Fraction
from typing import Final

from evalsuite.checker import units
from evalsuite.checker.answers import Expression, Proportion, Words
from evalsuite.checker.grammar import parse
from evalsuite.checker.limits import UnreadableError
from evalsuite.checker.phrases import trimmed
from evalsuite.checker.tokens import Token
from evalsuite.checker.tree import Number, Product
from evalsuite.checker.wording import SCALES

_LIMITING: Final = frozenset(
    {"no", "not", "least", "most", "than", "less", "more", "negative", "minus", "over", "under", "half", "twice", "double", "triple"}
    | {"between", "root", "except", "without", "until", "before", "after", "reciprocal", "inverse"}
)
"""Words before a value that make it another one, or a bound."""

_CHANGING: Final = frozenset(
    {"factorial", "plus", "minus", "times", "divided", "modulo", "mod", "half", "halves", "thirds", "quarters", "fourths", "fifths"}
    | {"tenths", "hundredths", "less", "fewer", "greater", "smaller", "least", "most", "squared", "cubed"}
)
"""Words after a value that make it another one; `squared` and `cubed` do unless a unit stands before them."""

_WHOLES: Final = frozenset({"total", "value", "answer", "maximum", "minimum", "number", "probability", "area", "volume", "length"})
"""What may be «of» a value without changing it."""


def quantity(tokens: list[Token]) -> Expression | Words | Proportion:
    """An expression with its unit: trailing words, a percent sign, a currency sign before or after, a degree sign."""
    tokens = trimmed(tokens)
    if not tokens:
        raise UnreadableError("an empty side")
    unit: list[str] = []
    for place, token in enumerate(tokens[:2]):
        if token.kind == "$" and (place == 0 or tokens[0].text in "+-"):
            unit.append(units.currency(token.text))
            tokens = tokens[:place] + tokens[place + 1 :]
            break
    tokens, scale = _scaled(_leading_words(tokens))
    tokens, trailing = _without_words(tokens)
    unit += trailing
    if not tokens:
        raise UnreadableError("words only")
    proportion = _proportion(tokens)
    if proportion is not None:
        return proportion
    node = parse(tokens)
    if scale > 1:
        node = Product((node, Number(Fraction(scale))))
    return Expression(node, tuple(sorted(set(unit))))


def _without_words(tokens: list[Token]) -> tuple[list[Token], list[str]]:
    """The tokens before the trailing unit, and the unit."""
    applied = any(token.kind == "func" for token in tokens)
    start = len(tokens)
    while start > 0 and _ends_unit(tokens, start - 1, applied):
        start -= 1
    while start < len(tokens) and tokens[start].kind == "op":
        start += 1
    unit: list[str] = []
    words: list[str] = []
    if sum(token.kind == "%" for token in tokens[start:]) > 1:
        raise UnreadableError("a percentage of a percentage")
    for token in tokens[start:]:
        if token.kind == "$":
            unit.append(units.currency(token.text))
        elif token.kind in ("%", "deg"):
            unit.append(token.kind)
        else:
            words += token.text.split()
    changed = _CHANGING & {word.lower() for word in words}
    if changed and not (changed <= {"squared", "cubed"} and len(words) > 1):
        raise UnreadableError("words that change the value")
    return tokens[:start], unit + list(units.unit_of(" ".join(words)))


def _ends_unit(tokens: list[Token], place: int, applied: bool) -> bool:
    token = tokens[place]
    if token.kind in ("word", "text", "%", "$") or (token.kind == "deg" and not applied):
        return True
    if token.kind == "name" and token.text in "CF" and place > 0 and tokens[place - 1].kind == "deg":
        return True
    if token.kind == "name":
        return place > 1 and token.text in "smhgLJKNCV" and tokens[place - 1].text == "/" and tokens[place - 2].kind in ("word", "text")
    return token.kind == "op" and token.text in "/*" and place > 0 and tokens[place - 1].kind in ("word", "text")


def _leading_words(tokens: list[Token]) -> list[Token]:
    """The tokens without the words that introduce a value, unless one of them changes it."""
    start = 0
    while start < len(tokens) and tokens[start].kind in ("word", "text"):
        if set(tokens[start].text.lower().split()) & _LIMITING:
            return tokens
        start += 1
    introduction = " ".join(token.text for token in tokens[:start]).lower().split()
    if introduction[-1:] == ["of"] and not _WHOLES & set(introduction):
        return tokens
    if 0 < start < len(tokens) and tokens[start].text == ":":
        start += 1
    elif 0 < start < len(tokens) and tokens[start].kind == "open" and not tokens[start].space:
        return tokens
    return tokens[start:] if start < len(tokens) else tokens


def _scaled(tokens: list[Token]) -> tuple[list[Token], int]:
    """The tokens before a word such as `million`, and its value."""
    for place, token in enumerate(tokens):
        word = token.text.lower().split()[0].removesuffix("s") if token.kind in ("word", "text") and token.text.split() else ""
        if place and word in SCALES:
            rest = token.text.split()[1:]
            return [*tokens[:place], *([Token("text", " ".join(rest))] if rest else []), *tokens[place + 1 :]], SCALES[word]
    return tokens, 1


def _proportion(tokens: list[Token]) -> Proportion | None:
    terms: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.kind == "open") - (token.kind == "close")
        if depth == 0 and token.kind == "op" and token.text == ":":
            terms.append([])
        else:
            terms[-1].append(token)
    if len(terms) < 2 or not all(terms):
        return None
    return Proportion(tuple(parse(term) for term in terms))
