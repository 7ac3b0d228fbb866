"""The table of cases: every row decided as a mathematician would, in both directions where direction does not matter."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evalsuite.checker import _pool, check, is_equal

ROWS: list[dict[str, Any]] = [json.loads(line) for line in (Path(__file__).parent / "cases.jsonl").read_text().splitlines()]
DIRECTED = {"rounding", "reply"}
"""Classes where the gold and the prediction play different parts."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is equal does not depend on how busy the machine is; that the usual wall limit holds is tested elsewhere."""
    monkeypatch.setattr(_pool(), "limit_s", 60.0)


CLASSES = sorted({row["class"] for row in ROWS})


def of(name: str) -> list[dict[str, Any]]:
    return [row for row in ROWS if row["class"] == name]


@pytest.mark.parametrize("name", CLASSES)
def test_every_row_of_a_class(name: str) -> None:
    wrong = [(row, verdict) for row in of(name) if (verdict := check(row["gold"], row["pred"])).equal is not row["equal"]]
    assert wrong == []


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in DIRECTED])
def test_every_row_reversed(name: str) -> None:
    assert [row for row in of(name) if is_equal(row["pred"], row["gold"]) is not row["equal"]] == []


@pytest.mark.parametrize("name", CLASSES)
def test_a_gold_answer_equals_itself(name: str) -> None:
    golds = {row["gold"] for row in of(name)}
    boxed = "After some work, the result is \\boxed{{{}}}."
    assert [gold for gold in sorted(golds) if not is_equal(gold, gold) or not is_equal(gold, boxed.format(gold))] == []


def test_the_table_covers_every_class_both_ways() -> None:
    counts = Counter((row["class"], row["equal"]) for row in ROWS)
    assert len(ROWS) >= 600
    assert len(CLASSES) >= 25
    assert all(counts[one, True] >= 4 and counts[one, False] >= 4 for one in CLASSES), counts
    assert len({(row["gold"], row["pred"]) for row in ROWS}) == len(ROWS)
    assert all(row["source"] for row in ROWS)
