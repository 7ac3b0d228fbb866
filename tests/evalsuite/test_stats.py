"""Statistics against known values and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu

from evalsuite import stats


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (7, 7), (1, 3), (27, 100), (650, 1319)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(successes: int, n: int, confidence: float) -> None:
    ours = stats.wilson(successes, n, confidence)
    theirs = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours.value == successes / n


def test_wilson_of_nothing_is_nothing() -> None:
    assert stats.wilson(0, 0) is None


def test_percentiles_are_numpys() -> None:
    values = np.random.default_rng(1).lognormal(size=37).tolist()
    for q in (0, 1, 50, 90, 95, 99, 100):
        assert stats.percentile(values, q) == pytest.approx(np.percentile(values, q))
    assert stats.percentile([4.0], 95) == 4.0


def test_spread_by_hand() -> None:
    assert stats.spread([]) is None
    spread = stats.spread([1.0, 2.0, 3.0, 4.0])
    assert spread == pytest.approx({"n": 4, "mean": 2.5, "p50": 2.5, "p90": 3.7, "p95": 3.85, "p99": 3.97, "max": 4.0})


def test_covered_time_counts_overlaps_once_and_pauses_never() -> None:
    assert stats.covered([]) == 0
    assert stats.covered([(0, 2), (1, 3), (10, 11), (10.5, 10.6)]) == 4


def test_clustered_lies_between_the_two_wilsons_and_equals_one_at_the_extremes() -> None:
    alike = stats.clustered([1.0, 0.0, 1.0, 0.0] * 25, 800)
    assert alike is not None
    by_problem = stats.wilson(50, 100)
    assert by_problem is not None
    assert (alike.low, alike.high) == pytest.approx((by_problem.low, by_problem.high), rel=0.02), "8 equal responses are one"
    spread_out = stats.clustered([0.375, 0.625] * 50, 800)
    by_response = stats.wilson(400, 800)
    assert spread_out is not None
    assert by_response is not None
    assert spread_out.low == pytest.approx(by_response.low)
    assert alike.low < spread_out.low
    none_right = stats.clustered([0.0] * 20, 160)
    assert none_right is not None
    assert none_right.low == 0.0
    assert none_right.high == pytest.approx(stats.wilson(0, 20).high)  # type: ignore[union-attr]
    assert stats.clustered([], 0) is None


def test_clustered_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        chances = rng.beta(0.8, 1.2, size=60)
        shares = rng.binomial(4, chances) / 4
        interval = stats.clustered(shares.tolist(), 240)
        assert interval is not None
        covered += interval.low <= 0.4 <= interval.high
    assert 0.91 <= covered / 400 <= 0.985


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 1), (3, 9), (9, 3), (10, 10), (40, 61)])
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    expected = 1.0 if only_a + only_b == 0 else binomtest(only_a, only_a + only_b).pvalue
    assert stats.mcnemar(only_a, only_b) == pytest.approx(expected)


def test_mcnemar_survives_large_counts() -> None:
    assert 0 < stats.mcnemar(1500, 1700) < 0.001


def test_the_paired_bootstrap_agrees_with_the_normal_theory_and_with_itself() -> None:
    rng = np.random.default_rng(3)
    a = rng.integers(0, 2, 300).astype(float)
    b = np.where(rng.random(300) < 0.2, 1 - a, a)
    interval = stats.paired_bootstrap(a.tolist(), b.tolist())
    difference = b - a
    half = 1.96 * difference.std(ddof=1) / np.sqrt(300)
    assert interval.value == pytest.approx(difference.mean())
    assert (interval.low, interval.high) == pytest.approx((difference.mean() - half, difference.mean() + half), abs=0.01)
    assert interval == stats.paired_bootstrap(a.tolist(), b.tolist())
    assert stats.paired_bootstrap([1.0, 0.0], [1.0, 0.0]).high == 0.0


def test_pass_at_k_is_the_share_of_subsets_with_a_right_one() -> None:
    from itertools import combinations

    for right in range(7):
        for k in range(1, 7):
            hits = [any(i < right for i in subset) for subset in combinations(range(6), k)]
            assert stats.pass_at(k, right, 6) == pytest.approx(sum(hits) / len(hits))
    with pytest.raises(ValueError, match="pass@7 needs at least 7"):
        stats.pass_at(7, 1, 6)


def test_majority_at_k_by_hand() -> None:
    # Responses 0 and 3 say A (right), 1 and 2 say B, 4 says nothing.
    groups = [[0, 3], [1, 2]]
    right = {0, 3}.__contains__
    assert stats.majority_at(1, groups, right, 5) == pytest.approx(2 / 5)
    # Pairs: 01 A (tie, earliest), 02 A, 03 A, 04 A, 12 B, 13 B, 14 B, 23 B, 24 B, 34 A.
    assert stats.majority_at(2, groups, right, 5) == pytest.approx(5 / 10)
    assert stats.majority_at(5, groups, right, 5) == 1.0
    assert stats.majority_at(3, [], right, 3) == 0.0


def test_majority_at_k_of_many_is_sampled_with_a_seed_and_close_to_the_truth() -> None:
    groups = [list(range(0, 24, 2)), list(range(1, 24, 2))]
    estimate = stats.majority_at(11, groups, lambda i: i % 2 == 0, 24)
    assert estimate == stats.majority_at(11, groups, lambda i: i % 2 == 0, 24)
    assert estimate == pytest.approx(0.5, abs=0.05)


def test_brier_and_auroc() -> None:
    assert stats.brier([1.0, 0.0, 0.5], [True, True, False]) == pytest.approx((0 + 1 + 0.25) / 3)
    assert stats.brier([], []) is None
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 6, 80) / 5
    truths = rng.random(80) < scores * 0.6 + 0.2
    expected = mannwhitneyu(scores[truths], scores[~truths]).statistic / (truths.sum() * (~truths).sum())
    assert stats.auroc(scores.tolist(), truths.tolist()) == pytest.approx(expected)
    assert stats.auroc([0.3], [True]) is None
