"""The tokenizer: one linear pass from the text of an answer to its tokens.

It knows LaTeX, plain text and unicode signs, and no grammar. It never decodes what it does not know: a control character or
a digit that is not ASCII makes the text unreadable.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from evalsuite.checker import signs
from evalsuite.checker.limits import MAX_ANSWER_CHARS, MAX_TOKENS, TooLargeError, UnreadableError
from evalsuite.checker.units import is_unit

Kind: TypeAlias = Literal[
    "num", "name", "letters", "func", "word", "text", "op", "open", "close", "cmd", "sub", "begin", "end", "deg", "%", "$"
]


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    space: bool = False
    """White space stood before it."""


_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_SAFE_GROUP: Final = re.compile(r"(?: ?\{ ?, ?\}|,\s?\\!|\\,|\\;|\\:|\\ |~|(?: ))\s{0,2}([0-9]{3})(?![0-9])")
_COMMA_GROUP: Final = re.compile(r",([0-9]{3})(?![0-9])")
_EXPONENT: Final = re.compile(r"[eE]([+-]?[0-9]{1,9})(?![0-9A-Za-z.])")
_SPACE: Final = re.compile(r"[ \t\r\n~]+")
_HIGH: Final = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_LOW: Final = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_TWO_SIGNS: Final = {"<=": "<=", ">=": ">=", "!=": "!=", "==": "=", "**": "^", "=<": "<=", "=>": ">=", "+-": "±", "~=": "≈", ":=": "="}


def plain(text: str) -> str:
    """The text with unicode signs spelled in LaTeX. Raises `UnreadableError` for characters no answer has."""
    if len(text) > MAX_ANSWER_CHARS:
        raise TooLargeError(f"an answer of {len(text)} characters; at most {MAX_ANSWER_CHARS} are read")
    if not text.isascii():
        text = _HIGH.sub(lambda match: "^{" + match.group().translate(signs.SUPERSCRIPTS) + "}", text)
        text = _LOW.sub(lambda match: "_{" + match.group().translate(signs.SUBSCRIPTS) + "}", text)
        text = text.translate(signs.UNICODE)
    for char in text:
        if (char < " " and char not in "\t\r\n") or (char > "~" and (char.isdigit() or char.isnumeric() or not char.isprintable())):
            raise UnreadableError(f"the character {char!a} is in no answer")
    return text


def tokenize(text: str, *, commas: bool) -> list[Token]:
    """The tokens of `text`, already passed through `plain`. `commas`: a tight comma before three digits groups thousands."""
    return _Scanner(text, commas).run()


def _command_table() -> dict[str, tuple[Kind, str]]:
    """The token of every command that stands for itself."""
    table: dict[str, tuple[Kind, str]] = {name: ("func", function) for name, function in signs.FUNCTIONS.items()}
    table |= {name: ("name", constant) for name, constant in signs.CONSTANT_WORDS.items()}
    table |= {name: ("name", signs.SAME_LETTER.get(name, name)) for name in signs.GREEK}
    table |= dict.fromkeys(signs.FRACTIONS, ("cmd", "frac"))
    table |= dict.fromkeys(signs.BINOMIALS, ("cmd", "binom"))
    table |= {name: ("cmd", "accent:" + name) for name in signs.ACCENTS}
    table |= {name: ("op", text) for name, text in signs.OPERATORS.items()}
    table |= {name: ("$", sign) for name, sign in signs.CURRENCIES.items()}
    table |= dict.fromkeys(("circ", "degree"), ("deg", "deg")) | dict.fromkeys(("emptyset", "varnothing"), ("name", "set:empty"))
    table |= dict.fromkeys(("land", "wedge"), ("word", "and")) | dict.fromkeys(("lor", "vee"), ("word", "or"))
    table |= dict.fromkeys(("cent", "cents"), ("word", "cents")) | {"imath": ("name", "i"), "jmath": ("name", "j")}
    return table


_COMMANDS: Final = _command_table()


class _Scanner:
    def __init__(self, text: str, commas: bool) -> None:
        self.text = text
        self.commas = commas
        self.at = 0
        self.depth = 0
        self.space = False
        self.tokens: list[Token] = []

    def run(self) -> list[Token]:
        while self.at < len(self.text):
            if match := _SPACE.match(self.text, self.at):
                self.at = match.end()
                self.space = True
                continue
            self._step(self.text[self.at])
            if len(self.tokens) > MAX_TOKENS:
                raise TooLargeError(f"more than {MAX_TOKENS} tokens")
        return self.tokens

    def _add(self, kind: Kind, text: str) -> None:
        self.tokens.append(Token(kind, text, self.space))
        self.space = False

    def _step(self, char: str) -> None:
        if match := _NUMBER.match(self.text, self.at):
            self._number(match)
        elif char == "\\":
            self._command()
        elif char.isascii() and char.isalpha():
            self._letters()
        elif char == "_":
            self.at += 1
            self._add("sub", self._argument())
        elif char in "([{)]}":
            self._bracket(char)
        else:
            self._sign(char)

    def _bracket(self, char: str) -> None:
        if self.text.startswith("{}", self.at):
            self.at += 2
            return
        self.at += 1
        if char in "{}":
            self._add("open" if char == "{" else "close", "group")
            return
        self.depth += 1 if char in "([" else -1
        self._add("open" if char in "([" else "close", char)

    def _sign(self, char: str) -> None:
        if self.text.startswith("...", self.at):
            self.at += 3
            self._add("op", "…")
            return
        two = _TWO_SIGNS.get(self.text[self.at : self.at + 2])
        if two is not None:
            self.at += 2
            self._add("op", two)
            return
        self.at += 1
        if char == "%":
            self._add("%", "%")
        elif char in "$€£¥₹":
            self._add("$", char)
        elif char in "+-*/^=<>!|,;:&'.?\"":
            self._add("op", char)
        else:
            raise UnreadableError(f"the character {char!a} is in no expression")

    def _number(self, match: re.Match[str]) -> None:
        digits, self.at = match.group(), match.end()
        if "." not in digits and len(digits) <= 3 and (digits == "0" or digits[0] != "0"):
            digits += self._groups()
            if "," not in digits and (rest := re.compile(r"\.[0-9]+").match(self.text, self.at)) and len(digits) > 3:
                digits += rest.group()
                self.at = rest.end()
        self._add("num", digits)
        if exponent := _EXPONENT.match(self.text, self.at):
            self.at = exponent.end()
            for kind, text in (("op", "*"), ("num", "10"), ("op", "^"), ("open", "group")):
                self._add(kind, text)  # type: ignore[arg-type]
            power = exponent.group(1)
            if power[0] in "+-":
                self._add("op", power[0])
            self._add("num", power.lstrip("+-"))
            self._add("close", "group")

    def _groups(self) -> str:
        """The further groups of three digits of a number whose first group was just read."""
        found = ""
        while True:
            match = _SAFE_GROUP.match(self.text, self.at)
            if match is None and self.commas and self.depth == 0:
                match = _COMMA_GROUP.match(self.text, self.at)
            if match is None:
                return found
            if self.text[match.end() : match.end() + 1] == "/" and self.text[self.at] == " ":
                return found
            found += match.group(1)
            self.at = match.end()

    def _letters(self) -> None:
        match = _LETTERS.match(self.text, self.at)
        assert match is not None
        word, self.at = match.group(), match.end()
        low = word.lower()
        if len(word) == 1:
            self._add("name", word)
        elif low in signs.CONSTANT_WORDS:
            self._add("name", signs.CONSTANT_WORDS[low])
        elif low in signs.FUNCTIONS:
            self._add("func", signs.FUNCTIONS[low])
        elif low == "sqrt":
            self._add("cmd", "usqrt")
        elif low in ("frac", "dfrac") and self.text[self.at : self.at + 1] == "{":
            self._add("cmd", "frac")
        elif low in ("degree", "degrees", "deg"):
            self._add("deg", "deg")
        elif low in ("percent", "percentage", "pct", "percents"):
            self._add("%", "%")
        elif word in signs.GREEK:
            self._add("name", signs.SAME_LETTER.get(word, word))
        elif low in ("and", "or", "in") or is_unit(word) or low in signs.SHORT_WORDS:
            self._add("word", word)
        elif len(word) <= 3 or low in "abcdefghijklmnopqrstuvwxyz":
            self._add("letters", word)
        elif low[:3] in ("sin", "cos", "tan") and len(word) == 4:
            self._add("func", low[:3])
            self._add("name", word[3])
        else:
            self._add("word", word)

    def _command(self) -> None:
        self.at += 1
        match = _LETTERS.match(self.text, self.at)
        if match is None:
            self._escaped(self.text[self.at : self.at + 1])
            return
        name, self.at = match.group(), match.end()
        if name in signs.SILENT:
            self.space = True
            if name in ("left", "right") and self.text[self.at : self.at + 1] == ".":
                self.at += 1
        elif name in signs.OPENERS or name in signs.CLOSERS:
            self._delimiter(name)
        elif name in signs.TEXT_COMMANDS or name in signs.MATH_TEXT_COMMANDS:
            self._text(name, self._argument())
        elif name in ("begin", "end"):
            environment = self._argument().rstrip("*")
            if name == "begin" and environment == "array" and self.text[self.at : self.at + 1] == "{":
                self._argument()
            self._add("begin" if name == "begin" else "end", environment)
        else:
            self._named(name)

    def _named(self, name: str) -> None:
        if name == "boxed":
            self.space = True
            return
        kind, text = _COMMANDS.get(name, ("cmd", name))
        self._add(kind, text)

    def _escaped(self, char: str) -> None:
        if not char:
            raise UnreadableError("a backslash at the end")
        self.at += 1
        if char in signs.SPACES or char == "\n":
            self.space = True
        elif char == "%":
            self._add("%", "%")
        elif char == "$":
            self._add("$", "$")
        elif char in "{}":
            self._delimiter(char)
        elif char == "\\":
            self._add("op", "\\\\")
        elif char == "|":
            self._add("op", "|")
        elif char == "&":
            self._add("word", "and")
        elif char in "()[]":
            self.space = True
        else:
            raise UnreadableError(f"an escaped {char!a} is in no expression")

    def _delimiter(self, name: str) -> None:
        opens = name in signs.OPENERS
        self.depth += 1 if opens else -1
        self._add("open" if opens else "close", signs.OPENERS[name] if opens else signs.CLOSERS[name])

    def _text(self, command: str, content: str) -> None:
        body = content.strip().strip("~").strip()
        if command == "mathbb":
            self._add("name", "set:" + body)
        elif command in signs.MATH_TEXT_COMMANDS and len(body) == 1 and body.isalpha():
            self._add("text" if command == "mathrm" and self._after_quantity(body) else "name", body)
        elif body.lower() in signs.FUNCTIONS and command in signs.MATH_TEXT_COMMANDS:
            self._add("func", signs.FUNCTIONS[body.lower()])
        elif body:
            self._add("text", body)

    def _after_quantity(self, letter: str) -> bool:
        """Whether an upright letter is a unit: it follows a number, or a unit and a slash."""
        if letter not in "msghLNJKWVCFA" or not self.tokens:
            return False
        last = self.tokens[-1]
        slashed = last.text in "/*" and len(self.tokens) > 1 and self.tokens[-2].kind == "text"
        return last.kind in ("num", "text") or slashed or (last.kind == "close" and last.text == "group")

    def _argument(self) -> str:
        """The raw text of a braced group, or one character (a run of digits after an underscore)."""
        while self.text[self.at : self.at + 1] == " ":
            self.at += 1
        if self.text[self.at : self.at + 1] != "{":
            match = _NUMBER.match(self.text, self.at) or re.compile(r"\\[A-Za-z]+|.").match(self.text, self.at)
            if match is None:
                raise UnreadableError("a command without its argument")
            self.at = match.end()
            return match.group()
        depth, start = 0, self.at + 1
        for place in range(self.at, len(self.text)):
            char = self.text[place]
            depth += (char == "{") - (char == "}")
            if depth == 0:
                self.at = place + 1
                return self.text[start:place]
        raise UnreadableError("an opening brace without its closing one")
