"""`redraft-arith` and `redraft-arith-hard`: word problems made from a seed by the templates below, with exact golds.

Row i depends on the family, the seed and i alone, so a longer task begins with the shorter one. `redraft-arith-train` and
`redraft-arith-hard-train` have the same templates and share no problem with the others. Needs no network and no library.
The easy family takes one or two steps with small numbers, so that a weak model solves some; the hard one takes three or four.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from evalsuite.tasks.types import Problem

VERSION = 2
"""Raised whenever a template changes: another version is another task."""

TRAIN = "-train"
HELD_OUT = 4
"""One text in so many belongs to the tasks that measure, the others to the `-train` ones; no seed makes a text of both."""

NAMES = ("Ada", "Ben", "Cora", "Dev", "Ella", "Finn", "Grace", "Hugo", "Iris", "Jonas", "Kim", "Lena", "Milo", "Nora", "Omar", "Pia")
GOODS = ("pencils", "apples", "stickers", "marbles", "cookies", "postcards", "buttons", "balloons")
PRICED = ("notebook", "poster", "ticket", "mug", "plant", "kite", "puzzle", "lamp")


@dataclass(frozen=True, slots=True)
class Item:
    """A generated text, its gold, and the steps that lead there."""

    text: str
    answer: int
    steps: str


Template = Callable[[random.Random], Item]


def _two_names(rng: random.Random) -> tuple[str, str]:
    first, second = rng.sample(NAMES, 2)
    return first, second


def buying(rng: random.Random) -> Item:
    name, thing = rng.choice(NAMES), rng.choice(PRICED)
    count, price = rng.randint(2, 9), rng.randint(2, 12)
    text = f"A {thing} costs ${price}. {name} buys {count} of them. How many dollars does {name} pay?"
    return Item(text, count * price, f"{count} * {price} = {count * price}.")


def change(rng: random.Random) -> Item:
    name, thing = rng.choice(NAMES), rng.choice(PRICED)
    count, price = rng.randint(2, 6), rng.randint(2, 8)
    cost = count * price
    paid = cost + rng.randint(1, 20)
    text = f"{name} buys {count} {thing}s at ${price} each and pays with ${paid}. How many dollars of change does {name} get back?"
    return Item(text, paid - cost, f"{count} * {price} = {cost}. {paid} - {cost} = {paid - cost}.")


def gathering(rng: random.Random) -> Item:
    (a, b), goods = _two_names(rng), rng.choice(GOODS)
    x, y = rng.randint(3, 40), rng.randint(3, 40)
    text = f"{a} has {x} {goods} and {b} has {y} {goods}. How many {goods} do they have together?"
    return Item(text, x + y, f"{x} + {y} = {x + y}.")


def giving(rng: random.Random) -> Item:
    (a, b), goods = _two_names(rng), rng.choice(GOODS)
    left, gone, more = rng.randint(2, 25), rng.randint(2, 15), rng.randint(2, 15)
    start = left + gone
    text = f"{a} has {start} {goods}, gives {gone} of them to {b} and then finds {more} more. How many {goods} does {a} have now?"
    return Item(text, left + more, f"{start} - {gone} = {left}. {left} + {more} = {left + more}.")


def sharing(rng: random.Random) -> Item:
    name, goods = rng.choice(NAMES), rng.choice(GOODS)
    friends, each = rng.randint(2, 9), rng.randint(2, 12)
    text = f"{name} shares {friends * each} {goods} equally among {friends} friends. How many {goods} does each friend get?"
    return Item(text, each, f"{friends * each} / {friends} = {each}.")


def travelling(rng: random.Random) -> Item:
    name, hours, speed = rng.choice(NAMES), rng.randint(2, 6), rng.choice((10, 12, 15, 20, 30, 40, 50, 60))
    text = f"{name} rides a bus for {hours} hours. The bus drives at {speed} kilometers per hour. How many kilometers does {name} travel?"
    return Item(text, hours * speed, f"{hours} * {speed} = {hours * speed}.")


def ages(rng: random.Random) -> Item:
    a, b = _two_names(rng)
    age, gap, later = rng.randint(4, 20), rng.randint(2, 9), rng.randint(2, 10)
    text = f"{a} is {age} years old. {b} is {gap} years older than {a}. How old will {b} be in {later} years?"
    return Item(text, age + gap + later, f"{age} + {gap} = {age + gap}. {age + gap} + {later} = {age + gap + later}.")


def earning(rng: random.Random) -> Item:
    name = rng.choice(NAMES)
    wage, hours, spent = rng.randint(5, 15), rng.randint(2, 8), rng.randint(2, 9)
    text = f"{name} earns ${wage} an hour and works {hours} hours, then spends ${spent} on lunch. How many dollars are left?"
    return Item(text, wage * hours - spent, f"{wage} * {hours} = {wage * hours}. {wage * hours} - {spent} = {wage * hours - spent}.")


def packing(rng: random.Random) -> Item:
    goods = rng.choice(GOODS)
    boxes, each, loose = rng.randint(2, 9), rng.randint(3, 10), rng.randint(2, 9)
    total = boxes * each + loose
    text = f"There are {boxes} boxes with {each} {goods} in each box, and {loose} {goods} on the table. How many {goods} are there in all?"
    return Item(text, total, f"{boxes} * {each} = {boxes * each}. {boxes * each} + {loose} = {total}.")


def shopping(rng: random.Random) -> Item:
    name, (one, two) = rng.choice(NAMES), rng.sample(PRICED, 2)
    n, p, m, q = rng.randint(2, 8), rng.randint(3, 15), rng.randint(2, 8), rng.randint(3, 15)
    cost = n * p + m * q
    purse = cost + rng.randint(3, 40)
    text = (
        f"A {one} costs ${p} and a {two} costs ${q}. {name} has ${purse} and buys {n} {one}s and {m} {two}s. "
        f"How many dollars does {name} have left?"
    )
    return Item(
        text, purse - cost, f"{n} * {p} = {n * p}. {m} * {q} = {m * q}. {n * p} + {m * q} = {cost}. {purse} - {cost} = {purse - cost}."
    )


def multiples(rng: random.Random) -> Item:
    (a, b), goods = _two_names(rng), rng.choice(GOODS)
    c = rng.choice([n for n in NAMES if n not in (a, b)])
    x, times, fewer = rng.randint(4, 20), rng.randint(2, 5), rng.randint(1, 3)
    y = times * x
    z = y - fewer
    text = (
        f"{a} has {x} {goods}. {b} has {times} times as many as {a}. {c} has {fewer} fewer than {b}. "
        f"How many {goods} do the three of them have together?"
    )
    return Item(text, x + y + z, f"{times} * {x} = {y}. {y} - {fewer} = {z}. {x} + {y} + {z} = {x + y + z}.")


def journey(rng: random.Random) -> Item:
    name = rng.choice(NAMES)
    h1, v1, h2, v2 = rng.randint(2, 5), rng.randint(10, 30), rng.randint(2, 5), rng.randint(31, 60)
    first, second = h1 * v1, h2 * v2
    rest = rng.randint(10, 90)
    total = first + second + rest
    text = (
        f"{name} has a journey of {total} kilometers to make: {h1} hours by bicycle at {v1} kilometers per hour, then {h2} hours by car at "
        f"{v2} kilometers per hour, and the rest by train. How many kilometers does {name} go by train?"
    )
    return Item(
        text,
        rest,
        f"{h1} * {v1} = {first}. {h2} * {v2} = {second}. {first} + {second} = {first + second}. {total} - {first + second} = {rest}.",
    )


def orchard(rng: random.Random) -> Item:
    rows, trees, per_tree, crates = rng.randint(2, 6), rng.randint(2, 6), rng.randint(5, 12), rng.randint(2, 6)
    total = rows * trees * per_tree
    spoiled = total % crates + crates * rng.randint(1, 2)
    each = (total - spoiled) // crates
    text = (
        f"An orchard has {rows} rows of {trees} trees. Each tree bears {per_tree} apples. {spoiled} apples are spoiled, and the others are "
        f"packed equally into {crates} crates. How many apples are in each crate?"
    )
    steps = f"{rows} * {trees} = {rows * trees}. {rows * trees} * {per_tree} = {total}. {total} - {spoiled} = {total - spoiled}. "
    return Item(text, each, f"{steps}{total - spoiled} / {crates} = {each}.")


def saving(rng: random.Random) -> Item:
    name = rng.choice(NAMES)
    weeks, income, cost = rng.randint(3, 9), rng.randint(12, 30), rng.randint(2, 9)
    net = (income - cost) * weeks
    gift = rng.randint(5, 40)
    text = (
        f"{name} gets ${income} every week and spends ${cost} of it. {name} saves the rest for {weeks} weeks and then "
        f"receives a gift of ${gift}. How many dollars does {name} have then?"
    )
    return Item(text, net + gift, f"{income} - {cost} = {income - cost}. {income - cost} * {weeks} = {net}. {net} + {gift} = {net + gift}.")


TEMPLATES: dict[str, tuple[Template, ...]] = {
    "redraft-arith": (buying, change, gathering, giving, sharing, travelling, ages, earning, packing),
    "redraft-arith-hard": (shopping, multiples, journey, orchard, saving),
}
FAMILIES = (*TEMPLATES, *(family + TRAIN for family in TEMPLATES))


def generate(family: str, seed: int, count: int, start: int = 0) -> tuple[Problem, ...]:
    """Rows `start` to `start + count` of a family under a seed."""
    return tuple(_row(family, seed, i) for i in range(start, start + count))


def _row(family: str, seed: int, index: int) -> Problem:
    templates, train = TEMPLATES[family.removesuffix(TRAIN)], family.endswith(TRAIN)
    rng = random.Random(f"{family}/{VERSION}/{seed}/{index}")
    item = rng.choice(templates)(rng)
    while _is_held_out(item.text) is train:
        item = rng.choice(templates)(rng)
    return Problem(f"{family}@{seed}/{index}", item.text, str(item.answer), f"{item.steps}\n\\boxed{{{item.answer}}}")


def _is_held_out(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % HELD_OUT == 0
