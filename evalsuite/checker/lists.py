"""Answers with several members: where they are divided, and what they are together."""

from evalsuite.checker.answers import Alternatives, Answer, Expression, Listing, Relation
from evalsuite.checker.limits import MAX_MEMBERS, TooLargeError, UnreadableError
from evalsuite.checker.members import read_member
from evalsuite.checker.phrases import collapsed, opened, trimmed
from evalsuite.checker.tokens import Token


def answer_of(tokens: list[Token]) -> Answer:
    tokens = trimmed(collapsed(opened(tokens)))
    if not tokens:
        raise UnreadableError("no expression")
    grouped = _inside_group(tokens)
    if grouped is not None:
        return answer_of(grouped)
    if (tokens[0].kind, tokens[0].text, tokens[-1].kind) == ("begin", "cases", "end") and not any(token.text == "&" for token in tokens):
        tokens = [Token("op", ",") if token.text == "\\\\" else token for token in tokens[1:-1]]
    pieces, word = _split(tokens)
    if len(pieces) == 1:
        return read_member(pieces[0])
    if len(pieces) > MAX_MEMBERS:
        raise TooLargeError(f"more than {MAX_MEMBERS} members")
    return _listing([read_member(piece) for piece in pieces], word)


def _inside_group(tokens: list[Token]) -> list[Token] | None:
    """What a LaTeX group around the whole answer holds."""
    if not (tokens[0].kind == "open" and tokens[0].text == "group"):
        return None
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token.kind == "open") - (token.kind == "close")
        if depth == 0:
            return tokens[1:-1] if place == len(tokens) - 1 else None
    return None


def _split(tokens: list[Token]) -> tuple[list[list[Token]], str]:
    """The members of a top-level list, and the word that joins them."""
    pieces: list[list[Token]] = [[]]
    depth, joined, after_comma = 0, ",", False
    for token in tokens:
        depth += (token.kind in ("open", "begin")) - (token.kind in ("close", "end"))
        joining = token.kind == "word" and token.text.lower() in ("and", "or")
        if depth == 0 and (joining or (token.kind == "op" and token.text in ",;")):
            if joining:
                joined = token.text.lower()
            if not (joining and after_comma):
                pieces.append([])
            after_comma = not joining
        else:
            after_comma = False
            pieces[-1].append(token)
    filled = [piece for piece in pieces if piece]
    if len(filled) < len(pieces) or any(piece and piece[0].text == "…" for piece in filled):
        raise UnreadableError("an empty member")
    return filled or [[]], joined


def _listing(members: list[Answer], word: str) -> Answer:
    relations = [member for member in members if isinstance(member, Relation)]
    if len(relations) == len(members):
        return Alternatives("and" if word == "and" else word, tuple(relations))
    first = members[0]
    if isinstance(first, Expression) and first.name and all(isinstance(member, Expression) and not member.name for member in members[1:]):
        members = [first, *(Expression(member.node, member.unit, first.name) for member in members[1:] if isinstance(member, Expression))]
    shared = next((member.unit for member in reversed(members) if isinstance(member, Expression)), ())
    if shared and not any(isinstance(member, Expression) and member.unit for member in members[:-1]):
        members = [Expression(member.node, shared, member.name) if isinstance(member, Expression) else member for member in members]
    return Listing(tuple(members))
