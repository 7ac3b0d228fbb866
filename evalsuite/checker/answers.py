"""What an answer is: its types, and how they are read from text.

An answer is an expression with an optional unit, a list of answers, a relation, a numeral in a base, a time, a ratio, a choice or
plain words. One text may have several readings (`1,234` is a number or a list; `B` is a choice or a variable); a comparison
holds when some pair of readings agrees.
"""

from dataclasses import dataclass
from typing import TypeAlias

from evalsuite.checker.tree import Node


@dataclass(frozen=True, slots=True)
class Expression:
    """A value, with the unit that was written after it and the variable it was given to, if any."""

    node: Node
    unit: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Several answers, all of them asked for. `names` when each was given to a variable."""

    members: tuple["Answer", ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain such as `0 < x <= 5`, or an equation that is not a mere assignment."""

    sides: tuple[Node, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Relations joined by «or» or «and»."""

    word: str
    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class Numeral:
    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day in minutes after midnight; `half` is None when neither a.m. nor p.m. was written."""

    hour: int
    minute: int
    second: int
    half: str | None


@dataclass(frozen=True, slots=True)
class Proportion:
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    letter: str


@dataclass(frozen=True, slots=True)
class Words:
    text: str
    literal: bool = False
    """The text could not be read as words either: it is kept as it was written."""


Answer: TypeAlias = Expression | Listing | Relation | Alternatives | Numeral | Clock | Proportion | Choice | Words
