from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redraft import vote
from redraft.types import Calibration, Verdict

SHARP = Calibration(tpr=0.9, fpr=0.1, n=1000)


async def same(a: str, b: str) -> bool:
    return a.strip().lower() == b.strip().lower()


async def test_equal_answers_form_one_group_and_none_belongs_to_none() -> None:
    assert await vote.cluster(["a", None, "B", "A ", "b"], same) == [[0, 3], [2, 4]]


async def test_an_answer_seen_before_is_not_compared_again() -> None:
    asked: list[tuple[str, str]] = []

    async def counted(a: str, b: str) -> bool:
        asked.append((a, b))
        return False

    await vote.cluster(["x", "y", "y", "x"], counted)
    assert asked == [("x", "y"), ("x", "y")]


def test_ties_go_to_the_group_with_the_lowest_index() -> None:
    assert vote.winner([[3, 1], [0, 2]], [2.0, 2.0]) == 1
    assert vote.winner([[3, 1], [0, 2]], [2.1, 2.0]) == 0
    assert vote.winner([], []) is None


@pytest.mark.parametrize(("weights", "outstanding", "expected"), [([3, 0], 2, True), ([3, 1], 2, False), ([2], 2, False), ([], 1, False)])
def test_settled_only_when_a_tie_is_out_of_reach(weights: list[float], outstanding: float, expected: bool) -> None:
    assert vote.settled(weights, outstanding) is expected


@given(votes=st.lists(st.integers(0, 3), min_size=1, max_size=9), seen=st.integers(0, 9))
def test_what_is_settled_stays(votes: list[int], seen: int) -> None:
    """Whatever the votes still to come are, they do not change a settled winner."""
    seen = min(seen, len(votes))
    count = [votes[:seen].count(k) for k in range(4)]
    present = [k for k in range(4) if count[k]]
    groups = [[i for i, v in enumerate(votes[:seen]) if v == k] for k in present]
    weights = [float(len(g)) for g in groups]
    if vote.settled(weights, len(votes) - seen):
        early = vote.winner(groups, weights)
        assert early is not None
        finals = [votes.count(k) for k in range(4)]
        assert finals[present[early]] == max(finals)
        assert finals.count(max(finals)) == 1


def test_llr_is_the_log_ratio_of_the_rates() -> None:
    assert vote.llr(SHARP, Verdict.CORRECT) == pytest.approx(math.log(0.9 / 0.1), rel=0.02)
    assert vote.llr(SHARP, Verdict.INCORRECT) == pytest.approx(math.log(0.1 / 0.9), rel=0.02)
    assert vote.llr(SHARP, Verdict.ABSTAIN) == 0.0


def test_a_guessing_critic_moves_nothing_and_a_wrong_one_is_read_backwards() -> None:
    assert vote.llr(Calibration(0.5, 0.5, 100), Verdict.CORRECT) == 0.0
    assert vote.llr(Calibration(0.0, 1.0, 100), Verdict.CORRECT) == -vote.MAX_LLR


@given(tpr=st.floats(0, 1), fpr=st.floats(0, 1), n=st.integers(1, 10_000), verdict=st.sampled_from(list(Verdict)))
def test_llr_is_bounded(tpr: float, fpr: float, n: int, verdict: Verdict) -> None:
    assert abs(vote.llr(Calibration(tpr, fpr, n), verdict)) <= vote.MAX_LLR


def test_few_responses_shrink_the_ratio() -> None:
    assert vote.llr(Calibration(1.0, 0.0, 4), Verdict.CORRECT) < vote.llr(Calibration(1.0, 0.0, 400), Verdict.CORRECT)


def test_only_an_informed_critic_lets_revisions_vote() -> None:
    assert vote.revision_weight(SHARP) == 1.0
    assert vote.revision_weight(Calibration(0.55, 0.5, 100)) == 0.0
    assert vote.revision_weight(None) == 0.0


@pytest.mark.parametrize(("first", "second", "expected"), [(0, 0, 0.5), (4, 0, 1 - 1 / 32), (1, 1, 0.5), (1, 2, 0.0), (2.9, 0.1, 0.6875)])
def test_a_lead_is_as_sure_as_its_posterior(first: float, second: float, expected: float) -> None:
    """Votes that are no whole numbers are rounded against the leader: 2.9 to 0.1 is 2 to 1."""
    assert vote.beta_lead(first, second) == pytest.approx(expected)


@given(first=st.integers(0, 40), second=st.integers(0, 40))
def test_the_posterior_is_the_beta_distributions(first: int, second: int) -> None:
    from scipy.stats import beta

    if first >= second:
        assert vote.beta_lead(first, second) == pytest.approx(beta.sf(0.5, first + 1, second + 1))


def test_verdicts_that_could_still_turn_hold_the_drawing_open() -> None:
    assert vote.decided([4.0], 12, swing=0.0, confidence=0.95)
    assert not vote.decided([4.0], 12, swing=2.0, confidence=0.95)
    assert not vote.decided([4.0], 12, swing=0.0, confidence=1.0)
    assert not vote.decided([], 5, swing=0.0, confidence=0.95)
