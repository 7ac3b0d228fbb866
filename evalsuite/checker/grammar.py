"""The parser: from tokens to the syntax tree of one expression, point, interval, set or matrix.

It is a hand-written recursive descent with a depth limit. It evaluates nothing, and it knows neither units nor equations nor
lists: `evalsuite.checker.answers` takes those apart first.
"""

from fractions import Fraction
from typing import Final

from evalsuite.checker.limits import MAX_DEPTH, MAX_MEMBERS, TooLargeError, UnreadableError
from evalsuite.checker.numerals import in_base, number, subscript
from evalsuite.checker.signs import MATRIX_ENVIRONMENTS
from evalsuite.checker.tokens import Token
from evalsuite.checker.tree import (
    Braces,
    Call,
    Degrees,
    Matrix,
    Name,
    Negative,
    Node,
    Number,
    PlusMinus,
    Power,
    Product,
    Quotient,
    Sequence,
    SetOperation,
    Sum,
)

_APPLIED: Final = frozenset("fgh")
_PAIRS: Final = {"(": ")", "[": "]"}
_END: Final = Token("op", "end")


def parse(tokens: list[Token]) -> Node:
    """The tree of all tokens. Raises `UnreadableError` when any of them is left over."""
    parser = _Parser(tokens)
    node = parser.set_expression()
    if parser.peek() is not _END:
        raise UnreadableError(f"{parser.peek().text!r} is not expected there")
    return node


def _singles(tokens: list[Token]) -> list[Token]:
    """The tokens with runs of letters divided into single names."""
    found: list[Token] = []
    for token in tokens:
        if token.kind == "letters":
            found.extend(Token("name", letter, token.space and at == 0) for at, letter in enumerate(token.text))
        else:
            found.append(token)
    return found


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = _singles(tokens)
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else _END

    def next(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def sees(self, kind: str, text: str | None = None, ahead: int = 0) -> bool:
        token = self.peek(ahead)
        return token.kind == kind and (text is None or token.text == text)

    def accept(self, kind: str, text: str) -> bool:
        if self.sees(kind, text):
            self.at += 1
            return True
        return False

    def expect(self, kind: str, text: str) -> None:
        if not self.accept(kind, text):
            raise UnreadableError(f"expected {text!r}, found {self.peek().text!r}")

    # Sets ------------------------------------------------------------------------------------------------------------------

    def set_expression(self) -> Node:
        node = self.sum()
        while True:
            if self.peek().kind == "op" and self.peek().text in "∪∩∖":
                node = SetOperation(self.next().text, node, self.sum())
            elif isinstance(node, Sequence | SetOperation) and self.sees("name", "U"):
                self.at += 1
                node = SetOperation("∪", node, self.sum())
            elif self.accept("cmd", "over"):
                node = Quotient(node, self.sum())
            else:
                return node

    # Sums and products -----------------------------------------------------------------------------------------------------

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLargeError(f"nested deeper than {MAX_DEPTH}")
        terms: list[Node] = []
        while True:
            sign = "+"
            if self.sees("op") and self.peek().text in "+-±∓":
                sign = self.next().text
            elif terms:
                break
            while self.sees("op") and self.peek().text in "+-":
                if self.next().text == "-":
                    sign = {"+": "-", "-": "+"}.get(sign, sign)
            term = self.term()
            if sign == "-":
                term = Negative(term)
            elif sign in "±∓":
                term = PlusMinus(term, sign == "∓")
            terms.append(term)
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def term(self) -> Node:
        node = self.mixed()
        while True:
            if self.accept("op", "*"):
                node = _times(node, self.signed())
            elif self.accept("op", "/"):
                node = Quotient(node, self.signed())
            elif self.starts_factor():
                node = _times(node, self.power())
            else:
                return node

    def signed(self) -> Node:
        if self.accept("op", "-"):
            return Negative(self.signed())
        if self.accept("op", "+"):
            return self.signed()
        return self.mixed()

    def starts_factor(self) -> bool:
        token = self.peek()
        if token.kind == "num":
            previous = self.peek(-1)
            return previous.kind != "num" or (self.at >= 2 and self.tokens[self.at - 2].text == "^")
        if token.kind == "name":
            return token.text != "U" or not self.sees("open", ahead=1)
        if token.kind == "open":
            return True
        if token.kind == "op" and token.text == "|":
            return self.bars == 0
        return token.kind == "func" or (token.kind == "cmd" and token.text in ("frac", "sqrt", "usqrt", "binom")) or token.kind == "begin"

    def mixed(self) -> Node:
        """A factor, or a mixed number such as `2\\frac{1}{2}` or `2 1/2`."""
        first = self.peek()
        node = self.power()
        whole = isinstance(node, Number) and first.kind == "num" and "." not in first.text and self.peek(-1).kind == "num"
        if not whole or not isinstance(node, Number):
            return node
        if self.sees("cmd", "frac"):
            start = self.at
            part = self.power()
            if isinstance(part, Quotient) and _proper(part):
                return Sum((node, part))
            self.at = start
            return node
        if self.sees("num") and self.sees("op", "/", 1) and self.sees("num", ahead=2):
            top, bottom = number(self.next().text), number(self.tokens[self.at + 1].text)
            self.at += 2
            part = Quotient(top, bottom)
            if not _proper(part) or self.peek(-4).text == "." or not self.tokens[self.at - 3].space:
                raise UnreadableError("a mixed number with an improper fraction")
            return Sum((node, part))
        return node

    # Factors ---------------------------------------------------------------------------------------------------------------

    def power(self) -> Node:
        node = self.atom()
        while True:
            if self.accept("op", "^"):
                node = self.exponent(node)
            elif self.sees("op", "!") and not self.sees("op", "=", 1):
                self.at += 1
                node = Call("factorial", (node,))
            elif self.sees("deg"):
                self.at += 1
                node = Degrees(node)
            elif self.accept("%", "%"):
                node = Quotient(node, Number(Fraction(100)))
            elif self.sees("op", "'") and isinstance(node, Name):
                self.at += 1
                node = Name(node.name + "'")
            else:
                return node

    def exponent(self, base: Node) -> Node:
        if self.sees("deg"):
            self.at += 1
            return Degrees(base)
        if self.sees("open", "group") and self.sees("deg", ahead=1) and self.sees("close", "group", 2):
            self.at += 3
            return Degrees(base)
        if self.sees("op", "'") and isinstance(base, Name):
            self.at += 1
            return Name(base.name + "'")
        if self.accept("op", "-"):
            return Power(base, Negative(self.exponent_atom()))
        self.accept("op", "+")
        return Power(base, self.exponent_atom())

    def exponent_atom(self) -> Node:
        node = self.atom()
        if self.sees("op", "^"):
            self.at += 1
            return self.exponent(node)
        return node

    def atom(self) -> Node:  # one case per kind
        token = self.next()
        if token.kind == "num":
            return self.numeral(token)
        if token.kind == "name":
            return self.name(token)
        if token.kind == "func":
            return self.function(token.text)
        if token.kind == "open":
            return self.bracket(token.text)
        if token.kind == "cmd":
            return self.command(token.text)
        if token.kind == "begin":
            return self.matrix(token.text)
        if token.kind == "op" and token.text == "|":
            self.bars += 1
            inner = self.sum()
            self.bars -= 1
            self.expect("op", "|")
            return Call("abs", (inner,))
        raise UnreadableError(f"{token.text!r} does not begin an expression")

    def numeral(self, token: Token) -> Node:
        text = token.text
        if self.sees("sub"):
            return Number(Fraction(in_base(text, self.next().text)))
        dotted = self.sees("op", ".") and self.sees("cmd", "accent:overline", 1)
        if dotted or self.sees("cmd", "accent:overline"):
            self.at += 2 if dotted else 1
            block = self.digits_group()
            if "." not in text and not dotted:
                raise UnreadableError("an overlined integer")
            start = number(text)
            shift = 10**start.decimals
            return Number(start.value + Fraction(int(block), (10 ** len(block) - 1) * shift))
        if self.sees("op", ".") and self.at == len(self.tokens) - 1:
            self.at += 1
        return number(text)

    def digits_group(self) -> str:
        self.expect("open", "group")
        token = self.next()
        self.expect("close", "group")
        if token.kind != "num" or not token.text.isdigit() or len(token.text) > 60:
            raise UnreadableError("a repeating decimal without digits")
        return token.text

    def name(self, token: Token) -> Node:
        name = token.text
        if self.sees("sub"):
            name += "_" + subscript(self.next().text)
        if name in _APPLIED and self.sees("open", "("):
            self.at += 1
            return Call("f:" + name, self.members(")"))
        return Name(name)

    def function(self, name: str) -> Node:
        exponent: Node | None = None
        base: Node | None = None
        while True:
            if self.sees("sub"):
                base = _subscript_node(self.next().text)
            elif self.accept("op", "^"):
                minus = self.accept("op", "-")
                exponent = Negative(self.atom()) if minus else self.atom()
            else:
                break
        arguments = self.arguments()
        if exponent == Negative(Number(Fraction(1), 0, 1)) and name in ("sin", "cos", "tan"):
            return Call("a" + name, arguments)
        if name == "lg":
            name, base = "log", Number(Fraction(10), 0, 2)
        if base is not None:
            if name != "log":
                raise UnreadableError(f"a subscript at {name}")
            arguments = (*arguments, base)
        call = Call(name, arguments)
        return call if exponent is None else Power(call, exponent)

    def arguments(self) -> tuple[Node, ...]:
        """What a function is applied to: a bracketed list, or the factors up to the next operator."""
        if self.sees("open") and self.peek().text in ("(", "[", "group"):
            opener = self.next().text
            return self.members({"(": ")", "[": "]"}.get(opener, "group"))
        node = self.power()
        while self.starts_factor() and not self.sees("func") and not self.sees("open", "("):
            node = _times(node, self.power())
        return (node,)

    def command(self, name: str) -> Node:
        if name == "frac":
            top = self.argument(single=True)
            return Quotient(top, self.argument(single=True))
        if name in ("sqrt", "usqrt"):
            degree: Node | None = None
            if self.accept("open", "["):
                degree = self.sum()
                self.expect("close", "]")
            inner = self.argument(single=False)
            return Call("sqrt", (inner,) if degree is None else (inner, degree))
        if name == "binom":
            top = self.argument(single=True)
            return Call("binomial", (top, self.argument(single=True)))
        if name.startswith("accent:"):
            return self.accented(name.removeprefix("accent:"))
        raise UnreadableError(f"\\{name} is not a command that the checker reads")

    def accented(self, accent: str) -> Node:
        grouped = self.accept("open", "group")
        letters = ""
        while self.peek().kind in ("name", "sub") and (grouped or not letters):
            letters += ("_" if self.peek().kind == "sub" else "") + self.next().text
        if grouped:
            self.expect("close", "group")
        if not letters:
            raise UnreadableError(f"\\{accent} of something that is no name")
        keep = accent in ("overline", "bar", "overrightarrow", "overleftrightarrow", "overarc", "dot", "ddot")
        if self.sees("sub"):
            letters += "_" + subscript(self.next().text)
        return Name(f"{accent} {letters}" if keep else letters)

    def argument(self, *, single: bool) -> Node:
        """The argument of a command: a group, or one token (`single`: one digit of a number, as LaTeX reads it)."""
        token = self.peek()
        if token.kind == "open" and token.text in ("group", "("):
            self.at += 1
            members = self.members("group" if token.text == "group" else ")")
            if len(members) != 1:
                raise UnreadableError("a list where one argument was expected")
            return members[0]
        if single and token.kind == "num" and len(token.text) > 1 and not (token.space and self.peek(1).kind == "num"):
            if not token.text.isdigit():
                raise UnreadableError("a decimal where one digit was expected")
            self.tokens[self.at] = Token("num", token.text[1:])
            return number(token.text[0])
        return self.atom()

    # Brackets --------------------------------------------------------------------------------------------------------------

    def members(self, closer: str) -> tuple[Node, ...]:
        found = [self.set_expression()]
        while self.sees("op") and self.peek().text in ",;":
            self.at += 1
            found.append(self.set_expression())
            if len(found) > MAX_MEMBERS:
                raise TooLargeError(f"more than {MAX_MEMBERS} members")
        self.expect("close", closer)
        return tuple(found)

    def bracket(self, opener: str) -> Node:
        bars, self.bars = self.bars, 0
        node = self._bracket(opener)
        self.bars = bars
        return node

    def _bracket(self, opener: str) -> Node:  # one case per kind
        if opener in ("floor", "ceil"):
            return Call(opener, self.members(opener))
        if opener == "<":
            return Sequence("(", self.members(">"), ")")
        if opener == "{":
            return Braces(()) if self.accept("close", "}") else Braces(self.members("}"))
        if opener == "group":
            if self.accept("close", "group"):
                return self.atom()
            members = self.members("group")
            return members[0] if len(members) == 1 else Braces(members)
        members = self.open_members()
        closer = self.next()
        if closer.kind != "close" or closer.text not in ")]":
            raise UnreadableError(f"expected a closing bracket, found {closer.text!r}")
        if len(members) == 1 and closer.text == _PAIRS[opener]:
            return members[0]
        return Sequence(opener, members, closer.text)

    def open_members(self) -> tuple[Node, ...]:
        found = [self.set_expression()]
        while self.sees("op") and self.peek().text in ",;":
            self.at += 1
            found.append(self.set_expression())
            if len(found) > MAX_MEMBERS:
                raise TooLargeError(f"more than {MAX_MEMBERS} members")
        return tuple(found)

    def matrix(self, environment: str) -> Node:
        if environment not in MATRIX_ENVIRONMENTS:
            raise UnreadableError(f"the environment {environment!r} is not read")
        rows: list[list[Node]] = [[]]
        while not self.sees("end"):
            if self.peek() is _END:
                raise UnreadableError("a matrix without its end")
            if self.accept("op", "\\\\"):
                rows.append([])
            elif not self.accept("op", "&"):
                rows[-1].append(self.set_expression())
                if len(rows) * len(rows[0]) > MAX_MEMBERS:
                    raise TooLargeError(f"more than {MAX_MEMBERS} entries")
        self.at += 1
        filled = [tuple(row) for row in rows if row]
        if not filled or len({len(row) for row in filled}) != 1:
            raise UnreadableError("a matrix with rows of different lengths")
        return Matrix(tuple(filled))


def _times(first: Node, second: Node) -> Node:
    if isinstance(first, Product):
        return Product((*first.factors, second))
    return Product((first, second))


def _proper(part: Quotient) -> bool:
    top, bottom = part.top, part.bottom
    if not (isinstance(top, Number) and isinstance(bottom, Number)):
        return False
    return top.value.denominator == 1 and bottom.value.denominator == 1 and 0 <= top.value < bottom.value


def _subscript_node(text: str) -> Node:
    from evalsuite.checker.tokens import tokenize  # a subscript is text until a function asks for its value

    return parse(tokenize(text, commas=False))
