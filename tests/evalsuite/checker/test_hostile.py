"""No hostile prediction is equal to anything, raises, runs code, hangs or fills the memory."""

import resource
from functools import cache
from pathlib import Path

import pytest

from evalsuite.checker import _pool, check, is_equal
from tests.evalsuite.checker.corpus import GOLDS, bait, code, large, odd

MEBIBYTES = 1024
LIMIT_S = 1.0
"""No verdict here may be `equal`, so that a worker need not be given its usual time. That it is stopped in time is tested elsewhere."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pool(), "limit_s", LIMIT_S)


@cache
def verdict(text: str) -> bool:
    return is_equal(GOLDS[0], text)


def test_code_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for text in code(mark):
        for gold in GOLDS:
            assert not is_equal(gold, text), text
        check(text, text)
        check(text, f"\\boxed{{{text}}}")
    assert not mark.exists()


@pytest.mark.parametrize("text", list(large()), ids=lambda text: f"{text[:30]!a} x{len(text)}")
def test_large(text: str) -> None:
    assert not verdict(text)


@pytest.mark.parametrize("text", list(bait()), ids=lambda text: f"{text[:30]!a} x{len(text)}")
def test_bait(text: str) -> None:
    assert not verdict(text)


def test_odd_text() -> None:
    for text in odd():
        for gold in GOLDS:
            assert not is_equal(gold, text), (gold, text)
            assert not is_equal(text, gold), (text, gold)


def test_a_hostile_gold_answer_is_harmless() -> None:
    for text in [*large(), *bait(), *odd()]:
        if len(text) < 2_000:
            assert not is_equal(text, "41")


def test_memory_stays_small() -> None:
    """The workers have their own limit; this process computes nothing large."""
    for text in [*large(), *bait()]:
        verdict(text)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 900 * MEBIBYTES


def test_an_answer_too_long_to_read_is_text() -> None:
    long = "1+" * 3_000 + "1"
    assert check(long, long).equal
    verdict = check("3001", f"\\boxed{{{long}}}")
    assert not verdict.equal
    assert "4000" in verdict.reason
