from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from redraft import calibration
from redraft.calibration import Judged
from redraft.types import Calibration


def critic(rng: random.Random, n: int, *, rights: float, wrongs: float, spread: float = 0.1) -> list[Judged]:
    """A critic whose beliefs lie around `rights` for right responses and around `wrongs` for wrong ones."""
    return [
        Judged(min(max(rng.gauss(rights if correct else wrongs, spread), 0.0), 1.0), correct)
        for correct in (rng.random() < 0.5 for _ in range(n))
    ]


def test_a_critic_that_says_right_to_everything_still_tells_by_how_much() -> None:
    """All beliefs are above .5: only the threshold makes use of them."""
    found = calibration.fit(critic(random.Random(0), 400, rights=0.9, wrongs=0.7, spread=0.05))
    assert 0.75 < found.calibration.threshold < 0.85
    assert found.balanced_accuracy > 0.9
    assert found.pays


def test_a_guesser_is_called_one_although_its_threshold_was_chosen_on_the_same_responses() -> None:
    found = [calibration.fit(critic(random.Random(seed), 60, rights=0.7, wrongs=0.7)).balanced_accuracy for seed in range(40)]
    assert abs(sum(found) / len(found) - 0.5) < 0.03


def test_rates_intervals_and_abstentions_are_those_of_the_responses() -> None:
    judged = (
        [Judged(0.9, True)] * 8 + [Judged(0.05, True)] * 2 + [Judged(0.1, False)] * 9 + [Judged(0.95, False)] + [Judged(None, True)] * 3
    )
    found = calibration.fit(judged)
    assert found.calibration == Calibration(0.8, 0.1, 20, 0.5)
    assert found.abstained == 3
    assert found.tpr_interval == pytest.approx(tuple(binomtest(8, 10).proportion_ci(method="wilson")))
    assert found.brier == pytest.approx((8 * 0.01 + 2 * 0.9025 + 9 * 0.01 + 0.9025) / 20)
    assert [(round(b.belief, 3), round(b.correct, 3), b.n) for b in found.reliability] == [(0.05, 1.0, 2), (0.1, 0.0, 9), (0.906, 0.889, 9)]


@pytest.mark.parametrize("judged", [[], [Judged(0.9, True)] * 9, [Judged(None, True)] * 5 + [Judged(None, False)] * 5])
def test_too_little_to_measure_is_said(judged: list[Judged]) -> None:
    with pytest.raises(ValueError, match="at least two right and two wrong"):
        calibration.fit(judged)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_is_better_than_the_chosen_one(said: list[tuple[float, bool]]) -> None:
    def balanced(cut: float) -> float:
        rights, wrongs = [p >= cut for p, c in said if c], [p >= cut for p, c in said if not c]
        return sum(rights) / len(rights) - sum(wrongs) / len(wrongs) if rights and wrongs else 0.0

    cut = calibration.threshold(said)
    assert balanced(cut) >= max(balanced(p) for p, _ in said) - 1e-9 or balanced(cut) >= balanced(0.5)


def test_a_report_is_read_back() -> None:
    found = calibration.fit(critic(random.Random(1), 50, rights=0.9, wrongs=0.2))
    assert calibration.from_json(found.as_json()) == found.calibration


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"schema": 2},
        [1],
        {"schema": 1, "calibration": {"tpr": 1}},
        {"schema": 1, "calibration": {"tpr": 2, "fpr": 0, "n": 1, "threshold": 0.5}},
    ],
)
def test_what_is_no_report_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="calibration"):
        calibration.from_json(wrong)
