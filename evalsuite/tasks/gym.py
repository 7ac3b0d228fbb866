"""Tasks whose problems reasoning-gym makes from a seed: one family, or the mixes `redraft-gym` and `redraft-gym-hard`.

Row i depends on the task, the seed, i and the version of reasoning-gym alone. Tasks whose names end in `-train` share no problem with the
others, whatever the families, settings and seeds. Here are only families that are the same in every process, whose golds are exact, and
whose answers are a value: a checker of values cannot see whether a fraction is in its lowest terms.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evalsuite.tasks import borrowed
from evalsuite.tasks.types import Problem
from redraft.errors import BadRequest

VERSION = 1
"""Raised whenever a setting below changes: another version is another task."""

PREFIX = "reasoning-gym:"
TRAIN = "-train"
HELD_OUT = 4
"""One problem in so many belongs to the tasks that measure, the others to the `-train` ones; no seed makes a problem of both."""

MOST_DRAWS = 1000
"""How often a row is drawn again until its problem is of the right part. A quarter of the draws is, in the worse case."""


@dataclass(frozen=True, slots=True)
class Family:
    """A data set of reasoning-gym with settings. Those that are not given are its own."""

    name: str
    module: str
    about: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def at(self, **settings: Any) -> Family:
        """The same family, easier or harder."""
        return replace(self, settings={**self.settings, **settings})


FAMILIES = {
    family.name: family
    for family in (
        Family("chain_sum", "arithmetic.chain_sum", "sums and differences of whole numbers"),
        # With division some golds are rounded down, and the text does not say so.
        Family("basic_arithmetic", "arithmetic.basic_arithmetic", "sums and products in brackets", {"operators": ("+", "-", "*")}),
        Family("products", "arithmetic.products", "products of whole numbers"),
        Family("decimal_chain_sum", "arithmetic.decimal_chain_sum", "sums and differences of decimals"),
        Family("gcd", "arithmetic.gcd", "greatest common divisors"),
        Family("lcm", "arithmetic.lcm", "least common multiples"),
        Family("count_bits", "arithmetic.count_bits", "how many bits of a number are 1"),
        Family("leg_counting", "arithmetic.leg_counting", "the legs of several animals"),
        Family("dice", "arithmetic.dice", "the chance that dice reach a total"),
        Family("gsm_symbolic", "arithmetic.gsm_symbolic.gsm_symbolic", "word problems as in GSM8K"),
        Family("simple_equations", "algebra.simple_equations", "linear equations"),
        Family("complex_arithmetic", "algebra.complex_arithmetic", "arithmetic of complex numbers"),
        # The text says dx, whatever the variable is.
        Family("simple_integration", "algebra.simple_integration", "antiderivatives of polynomials", {"symbols": ("x",)}),
        # Digits beyond 9 are letters, which in an answer can be read as something else: 1e2.
        Family("base_conversion", "algorithmic.base_conversion", "numbers in another base, up to ten", {"max_base": 10}),
        Family("count_primes", "algorithmic.count_primes", "how many primes are in an interval"),
    )
}

MIXES: dict[str, tuple[Family, ...]] = {
    "redraft-gym": (
        FAMILIES["chain_sum"].at(max_terms=3, max_digits=2),
        FAMILIES["simple_equations"].at(max_terms=2, max_value=12),
        FAMILIES["basic_arithmetic"].at(max_terms=3, min_digits=1, max_digits=1),
        FAMILIES["products"].at(max_digits=2),
        FAMILIES["gcd"].at(max_value=60),
        FAMILIES["leg_counting"].at(min_animals=2, max_animals=3, max_instances=9),
        FAMILIES["lcm"].at(max_value=30),
    ),
    "redraft-gym-hard": (
        FAMILIES["gsm_symbolic"],
        FAMILIES["basic_arithmetic"].at(min_terms=4, max_terms=6, min_digits=2, max_digits=3),
        FAMILIES["simple_equations"].at(min_terms=3, max_terms=5),
        FAMILIES["complex_arithmetic"].at(operations_weights=[0.1, 0.1, 0.4, 0.4]),
        FAMILIES["decimal_chain_sum"].at(min_terms=4),
        FAMILIES["products"].at(max_terms=3, min_digits=2, max_digits=3),
        FAMILIES["base_conversion"],
        FAMILIES["dice"].at(num_dice=3, max_dice_size=12),
    ),
}


def makes(name: str) -> bool:
    """Whether this is the name of a task that is made here."""
    return name.startswith(PREFIX) or name.removesuffix(TRAIN) in MIXES


def families_of(name: str) -> tuple[Family, ...]:
    """The families that the rows of a task come from, one after the other. Raises BadRequest for a family that is not here."""
    bare = name.removesuffix(TRAIN)
    if bare in MIXES:
        return MIXES[bare]
    family = FAMILIES.get(bare.removeprefix(PREFIX))
    if family is None:
        raise BadRequest(
            f"task {name!r}: the families of {borrowed.DISTRIBUTION} that can be graded are {', '.join(FAMILIES)}", param="task"
        )
    return (family,)


def identity(name: str, seed: int) -> str:
    """Equal only for tasks with the same problems."""
    return f"{name}-v{VERSION}-{borrowed.DISTRIBUTION}-{borrowed.version()}-seed{seed}"


def generate(name: str, seed: int, count: int, start: int = 0) -> tuple[Problem, ...]:
    """Rows `start` to `start + count` of a task under a seed."""
    families = families_of(name)
    with borrowed.opened([family.module for family in families]) as create:
        return tuple(_row(name, seed, i, families[i % len(families)], create) for i in range(start, start + count))


def _row(name: str, seed: int, index: int, family: Family, create: borrowed.Create) -> Problem:
    train = name.endswith(TRAIN)
    for draw in range(MOST_DRAWS):
        digest = hashlib.sha256(f"{name}/{VERSION}/{seed}/{index}/{draw}".encode()).digest()
        entry = create(family.name, seed=int.from_bytes(digest[:4]), size=1, **family.settings)[0]
        text = str(entry["question"]).strip()
        if is_held_out(text) is not train:
            answer = str(entry["answer"])
            return Problem(f"{name}@{seed}/{index}", text, answer, _solution(entry["metadata"], answer))
    raise AssertionError(f"{family.name} made no problem in {MOST_DRAWS} draws that may be in {name}")


def _solution(made: Mapping[str, Any], answer: str) -> str | None:
    """The steps, where reasoning-gym gives them."""
    steps = made.get("answer_cot")
    return None if steps is None else f"{str(steps).rpartition('####')[0].strip()}\n\\boxed{{{answer}}}"


def is_held_out(text: str) -> bool:
    """By a problem's numbers, whatever their order, so that two wordings of one problem are on the same side."""
    numbers = " ".join(sorted(re.findall(r"\d+(?:\.\d+)?", text)))
    return hashlib.sha256(numbers.encode()).digest()[0] % HELD_OUT == 0
