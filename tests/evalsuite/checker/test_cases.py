"""The table of cases: every row decided as a mathematician would, in both directions where direction does not matter."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evalsuite.checker import check, is_equal

ROWS: list[dict[str, Any]] = [json.loads(line) for line in (Path(__file__).parent / "cases.jsonl").read_text().splitlines()]
DIRECTED = {"rounding", "reply"}
"""Classes where the gold and the prediction play different parts."""


def name(row: dict[str, Any]) -> str:
    return f"{row['class']}: {row['gold']} | {row['pred'][:40]}"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_row(row: dict[str, Any]) -> None:
    verdict = check(row["gold"], row["pred"])
    assert verdict.equal is row["equal"], verdict


@pytest.mark.parametrize("row", [row for row in ROWS if row["class"] not in DIRECTED], ids=name)
def test_row_reversed(row: dict[str, Any]) -> None:
    assert is_equal(row["pred"], row["gold"]) is row["equal"]


@pytest.mark.parametrize("gold", sorted({row["gold"] for row in ROWS}))
def test_a_gold_answer_equals_itself(gold: str) -> None:
    assert is_equal(gold, gold)
    assert is_equal(gold, f"After some work, the result is \\boxed{{{gold}}}.")


def test_the_table_covers_every_class_both_ways() -> None:
    classes = {row["class"] for row in ROWS}
    counts = Counter((row["class"], row["equal"]) for row in ROWS)
    assert len(ROWS) >= 600
    assert len(classes) >= 25
    assert all(counts[one, True] >= 4 and counts[one, False] >= 4 for one in classes), counts
    assert len({(row["gold"], row["pred"]) for row in ROWS}) == len(ROWS)
    assert all(row["source"] for row in ROWS)
