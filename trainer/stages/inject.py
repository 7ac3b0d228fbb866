"""The `inject` stage: right responses in; out come they, and beside each the same with one step made wrong and carried through.

For data where a model's own errors are too few. Several wrong twins of a response differ in what is wrong. Only a step whose result is
a plain number is touched, and the answer must change.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from redraft import records
from redraft.prompts import RIGHT, WRONG
from trainer.algebra.equations import Equation, Truth, find
from trainer.algebra.exact import Unreadable, number
from trainer.checking import Checker, label
from trainer.data import tables
from trainer.data.responses import Failed, Response, read
from trainer.data.tables import Place
from trainer.errors import BadRow
from trainer.origin import digest
from trainer.runs import claim_output, done

WHOLE = re.compile(r"(?<![\w.,\\])\d+(?![\w.]*\d)(?!\w)")


def inject(source: Place, output: Path, checker: Checker, *, seed: int, twins: int = 1, console: Console) -> Counter[str]:
    """Write every response, and after each right one as many wrong twins as can be made, at most `twins`. Counts the labels."""
    claim_output(output, digest(["inject", seed, twins, tables.identity(source)]))
    written = done([output])
    with records.Log(output) as log:
        for response in track(read(source), "injecting", console=console, transient=True):
            for record in _with_twins(response, checker, seed, twins):
                if record["id"] not in written:
                    log.append(record)
    return Counter(record.get("label", "failed") for _, record in records.read(output))


def _with_twins(response: Response | Failed, checker: Checker, seed: int, most: int) -> Iterator[dict[str, Any]]:
    if isinstance(response, Failed):
        yield {"id": response.id, "error": response.reason}
        return
    if response.gold is None:
        raise BadRow(response.where, "gold", "is missing: a wrong twin cannot be told from a right response without it")
    said = response.label or label(checker, response.gold, response.response)
    common = {"problem": response.problem, "gold": response.gold, "solution": response.solution}
    yield {"id": response.id, **common, "response": response.response, "label": said}
    if said == RIGHT:
        chance, gold = random.Random(f"{seed}:{response.id}"), response.gold
        tries = _different(twin for _ in range(most) for twin in corruptions(response.response, chance))
        wrong = (twin for twin in tries if label(checker, gold, twin) == WRONG)
        for number, twin in enumerate(itertools.islice(wrong, most)):
            identity = f"{response.id}/injected" + (f"/{number}" if number else "")
            yield {"id": identity, **common, "response": twin, "label": WRONG, "injected": True}


def _different(texts: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for text in texts:
        if text not in seen:
            seen.add(text)
            yield text


def corruptions(text: str, chance: random.Random) -> Iterator[str]:
    """The text with one true step made false, and its wrong result used wherever the right one was used later; each fit step once."""
    steps = [step for step in find(text) if _fit(step)]
    for step in chance.sample(steps, len(steps)):
        end = _end_of(text, step)
        if end is not None:
            wrong = _slip(int(step.right), chance)
            yield text[: end - len(step.right)] + str(wrong) + _carry(text[end:], {Fraction(step.right): wrong})


def _fit(step: Equation) -> bool:
    return step.truth is Truth.HOLDS and bool(step.work) and WHOLE.fullmatch(step.right) is not None


def _slip(right: int, chance: random.Random) -> int:
    """A wrong result of the kind people make: off by a little, by ten, or with two digits exchanged."""
    digits = str(right)
    slips = [right + 1, right + 2, right + 10, *(value for value in (right - 1, right - 2, right - 10) if value > 0)]
    if len(digits) > 1 and digits[-1] != digits[-2]:
        slips.append(int(digits[:-2] + digits[-1] + digits[-2]))
    return chance.choice([value for value in slips if value != right])


def _end_of(text: str, step: Equation) -> int | None:
    """Where the right side of `step` ends in the text."""
    start = text.find("=", step.where)
    match = re.compile(rf"[^\d\n]*{re.escape(step.right)}(?!\d)").match(text, start) if start >= 0 else None
    return match.end() if match else None


def _carry(text: str, wrong: dict[Fraction, int]) -> str:
    """The rest of a response, computed on from wrong results: each step is exact, given what came before."""
    carried = ""
    while text:
        step = next((step for step in find(text) if _fit(step)), None)
        end = None if step is None else _end_of(text, step)
        if step is None or end is None:
            return carried + _replaced(text, wrong)
        before = _replaced(text[: end - len(step.right)], wrong)
        value = _value(_replaced(step.left, wrong))
        if value is None or value.denominator != 1:
            return carried + _replaced(text, wrong)
        if value != int(step.right):
            wrong = {**wrong, Fraction(step.right): int(value)}
        carried += before + str(int(value))
        text = text[end:]
    return carried


def _replaced(text: str, wrong: dict[Fraction, int]) -> str:
    return WHOLE.sub(lambda match: str(wrong.get(Fraction(match.group()), match.group())), text)


def _value(expression: str) -> Fraction | None:
    try:
        return number(expression)
    except Unreadable:
        return None
