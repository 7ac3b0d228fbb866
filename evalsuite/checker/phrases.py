"""Tokens made ready for reading: text opened, powers of units joined, ends and introductions trimmed."""

import re
from typing import Final

from evalsuite.checker import signs
from evalsuite.checker.tokens import Token, tokenize

_FILLERS: Final = frozenset(
    {"approximately", "about", "roughly", "exactly", "around", "equals", "is", "are", "answer", "only", "either", "both"}
)


def opened(tokens: list[Token]) -> list[Token]:
    """The tokens with each `\\text{...}` that holds mathematics or a joining word replaced by the tokens inside it."""
    found: list[Token] = []
    for place, token in enumerate(tokens):
        if token.kind != "text":
            found.append(Token("letters", token.text, token.space) if _is_product(tokens, place) else token)
            continue
        low = token.text.lower().strip(" ,.;")
        if low in ("and", "or", "and/or", "&"):
            if token.text.strip().startswith(","):
                found.append(Token("op", ",", True))
            found.append(Token("word", "or" if low == "or" else "and", True))
        elif low == "to":
            found.append(Token("op", ":", True))
        elif low in ("percent", "percentage", "pct"):
            found.append(Token("%", "%", True))
        elif low in ("degrees", "degree"):
            found.append(Token("deg", "deg", True))
        elif re.fullmatch(r"[0-9.,:/ %-]+", low):
            found += tokenize(token.text, commas=True)
        else:
            found.append(Token("text", token.text, True))
    return found


def _is_product(tokens: list[Token], place: int) -> bool:
    """Whether two letters that spell a unit are a product: they follow no number, or mathematics follows them."""
    token = tokens[place]
    if token.kind != "word" or len(token.text) != 2 or token.text.lower() in signs.SHORT_WORDS | {"or", "in"}:
        return False
    before = tokens[place - 1] if place else None
    after = tokens[place + 1] if place + 1 < len(tokens) else None
    measured = before is not None and (before.kind in ("num", "close", "word", "text", "name") or before.text == "/")
    return not measured or (after is not None and after.kind in ("name", "func", "num", "cmd", "letters", "open"))


def collapsed(tokens: list[Token]) -> list[Token]:
    """The tokens with `^\\circ` as one degree sign, and the power of a unit as part of its word."""
    found: list[Token] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        inside = tokens[place + 1 : place + 4]
        grouped = len(inside) == 3 and (inside[0].kind, inside[2].kind) == ("open", "close") and inside[0].text == "group"
        exponent = inside[1] if grouped else inside[0] if inside else None
        raised = token.kind == "op" and token.text == "^" and exponent is not None
        if raised and exponent is not None and exponent.kind == "deg":
            found.append(Token("deg", "deg", token.space))
        elif raised and exponent is not None and exponent.kind == "num" and found and found[-1].kind in ("word", "text"):
            found[-1] = Token(found[-1].kind, f"{found[-1].text}^{exponent.text}", found[-1].space)
        else:
            found.append(token)
            place += 1
            continue
        place += 4 if grouped else 2
    return found


def trimmed(tokens: list[Token]) -> list[Token]:
    """The tokens without end punctuation and leading filler words or signs."""
    while tokens and (tokens[-1].kind, tokens[-1].text) in {
        ("op", "."),
        ("op", ","),
        ("op", ";"),
        ("op", ":"),
        ("op", "\\\\"),
        ("op", "?"),
    }:
        tokens = tokens[:-1]
    while tokens:
        first = tokens[0]
        filler = first.kind in ("word", "text") and first.text.lower().strip(" :,") in _FILLERS
        if filler or (first.kind == "op" and first.text in ("=", "≈", ":", "⇒", "→", ".", ",")):
            tokens = tokens[1:]
        else:
            break
    return tokens
