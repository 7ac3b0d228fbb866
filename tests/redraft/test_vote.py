from __future__ import annotations

import math
from dataclasses import replace

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


def test_only_a_measured_critic_above_the_break_even_pays() -> None:
    assert vote.pays(SHARP)
    assert not vote.pays(Calibration(0.55, 0.45, 100))
    assert vote.pays(replace(Calibration(0.55, 0.45, 100), critiques=3, pooled_accuracy=0.65))
    assert not vote.pays(Calibration(0.0, 1.0, 100)), "always wrong: its labels are more likely mixed up than its word worth its price"
    assert not vote.pays(None)


def test_a_critic_pays_when_it_is_better_by_more_than_chance_explains() -> None:
    assert vote.uncertainty(Calibration(0.7, 0.4, 10_000)) == pytest.approx(math.sqrt((0.21 + 0.24) / 5_000) / 2, rel=0.01)
    assert vote.pays(Calibration(0.7, 0.4, 200))
    assert not vote.pays(Calibration(0.7, 0.4, 20))


def test_a_critic_is_weighed_by_what_it_tells_beside_the_votes() -> None:
    echo = replace(SHARP, matched_tpr=0.6, matched_fpr=0.6, matched_n=50)
    assert vote.llr(echo, Verdict.CORRECT) == vote.evidence(echo, [(0, Verdict.INCORRECT)]) == 0.0
    assert vote.swing(echo) == 0.0
    assert not vote.pays(echo)
    few = replace(SHARP, matched_tpr=SHARP.tpr, matched_fpr=SHARP.fpr, matched_n=4)
    assert 0 < vote.llr(few, Verdict.CORRECT) < vote.llr(SHARP, Verdict.CORRECT)


rates = st.floats(0.01, 0.99)
correlations = st.floats(0, 1)
witnesses = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(Verdict))), max_size=12)


@given(tpr=rates, fpr=rates, same=correlations, other=correlations, said=witnesses)
def test_evidence_is_bounded_and_in_no_order(tpr: float, fpr: float, same: float, other: float, said: list[tuple[int, Verdict]]) -> None:
    critic = Calibration(tpr, fpr, 200, rho_response=same, rho_answer=other)
    found = vote.evidence(critic, said)
    assert abs(found) <= vote.MAX_LLR
    assert vote.evidence(critic, said[::-1]) == pytest.approx(found)
    assert vote.evidence(critic, [*said, (0, Verdict.ABSTAIN)]) == found


@given(tpr=rates, fpr=rates, rho=correlations, n=st.integers(1, 8), verdict=st.sampled_from([Verdict.CORRECT, Verdict.INCORRECT]))
def test_n_critiques_of_one_response_are_worth_their_effective_number(tpr: float, fpr: float, rho: float, n: int, verdict: Verdict) -> None:
    critic = Calibration(tpr, fpr, 200, rho_response=rho)
    one, found = vote.llr(critic, verdict), vote.evidence(critic, [(0, verdict)] * n)
    worth = n / (1 + (n - 1) * rho)
    assert found == pytest.approx(max(-vote.MAX_LLR, min(vote.MAX_LLR, one * worth)))
    assert 1 <= worth <= n


@given(rho=correlations, n=st.integers(2, 8))
def test_the_same_word_again_never_weakens_and_a_copy_never_strengthens(rho: float, n: int) -> None:
    critic = Calibration(0.7, 0.5, 200, rho_response=rho)
    said = [(0, Verdict.CORRECT)]
    assert vote.evidence(critic, said * n) >= vote.evidence(critic, said * (n - 1)) - 1e-12
    copies = replace(critic, rho_response=1.0)
    assert vote.evidence(copies, said * n) == pytest.approx(vote.evidence(copies, said))


def test_critiques_of_one_response_and_of_one_answer_have_correlations_of_their_own() -> None:
    critic = Calibration(0.7, 0.5, 10_000, rho_response=1.0, rho_answer=0.0)
    one = vote.evidence(critic, [(0, Verdict.CORRECT)])
    assert vote.evidence(critic, [(0, Verdict.CORRECT), (1, Verdict.CORRECT)]) == pytest.approx(2 * one)
    assert vote.evidence(critic, [(0, Verdict.CORRECT), (0, Verdict.CORRECT)]) == pytest.approx(one)
    mixed = [(0, Verdict.CORRECT), (0, Verdict.CORRECT), (1, Verdict.CORRECT)]
    assert vote.evidence(critic, mixed) == pytest.approx(3 * one / (1 + 2 / 3))


def test_more_critiques_can_swing_a_lead_further() -> None:
    one = Calibration(0.7, 0.5, 10_000, rho_response=0.2)
    assert vote.swing(replace(one, critiques=3)) == pytest.approx(vote.swing(one) * 3 / 1.4)


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
