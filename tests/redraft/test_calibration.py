from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from redraft import calibration, matching
from redraft.calibration import Form, Judged
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


def test_no_threshold_lies_between_beliefs_that_nobody_can_tell_apart() -> None:
    """Saturated beliefs: here the fourth decimal would even be right more often, and tomorrow's batch moves it."""
    said = [(0.9993, True)] * 40 + [(0.9991, True)] * 10 + [(0.9993, False)] * 5 + [(0.9991, False)] * 20 + [(0.001, False)] * 25
    assert calibration.threshold(said) == pytest.approx(0.5)
    assert calibration.threshold([(0.97, True)] * 30 + [(0.93, False)] * 30) == pytest.approx(0.95)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_is_better_than_the_chosen_one(said: list[tuple[float, bool]]) -> None:
    def balanced(cut: float) -> float:
        rights, wrongs = [p >= cut for p, c in said if c], [p >= cut for p, c in said if not c]
        return sum(rights) / len(rights) - sum(wrongs) / len(wrongs) if rights and wrongs else 0.0

    cut = calibration.threshold(said)
    assert balanced(cut) >= max(balanced(p) for p, _ in said) - 1e-9 or balanced(cut) >= balanced(0.5)


def test_a_report_is_read_back() -> None:
    found = calibration.fit(critic(random.Random(1), 50, rights=0.9, wrongs=0.2))
    assert found.calibration.matched_tpr is None, "no response has more votes than another"
    assert calibration.from_json(found.as_json()) == found.calibration
    voted = calibration.fit([replace(j, votes=1 + k % 2) for k, j in enumerate(critic(random.Random(1), 50, rights=0.9, wrongs=0.2))])
    assert voted.calibration.matched_tpr is not None
    assert calibration.from_json(voted.as_json()) == voted.calibration


def by_votes(votes: int, *, rights: tuple[int, int], wrongs: tuple[int, int]) -> list[Judged]:
    """Answers of so many votes each; of how many the critic says correct, and of how many that is."""
    return [
        Judged(0.9 if k < hits else 0.1, correct, votes=votes) for correct, (hits, n) in ((True, rights), (False, wrongs)) for k in range(n)
    ]


def test_rates_at_equal_votes_are_those_of_the_strata_with_both_kinds() -> None:
    """Weights n1 n0 / (n1 + n0): of 1 vote 10 * 40 / 50 = 8, of 2 votes 20 * 20 / 40 = 10, of 3 votes, where all are right, 0."""
    judged = (
        by_votes(1, rights=(5, 10), wrongs=(10, 40))
        + by_votes(2, rights=(16, 20), wrongs=(12, 20))
        + by_votes(3, rights=(20, 20), wrongs=(0, 0))
    )
    found = calibration.fit(judged).calibration
    assert (found.tpr, found.fpr, found.n) == (41 / 50, 22 / 60, 110)
    assert found.matched_tpr == pytest.approx((8 * 0.5 + 10 * 0.8) / 18)
    assert found.matched_fpr == pytest.approx((8 * 0.25 + 10 * 0.6) / 18)
    assert found.balanced_accuracy == pytest.approx((12 / 18 + 1 - 8 / 18) / 2)
    rights, wrongs = 18**2 / (64 / 10 + 100 / 20), 18**2 / (64 / 40 + 100 / 20)
    assert found.matched_n == round(4 / (1 / rights + 1 / wrongs))


def test_the_threshold_is_best_where_votes_are_equal() -> None:
    """Over all answers .75 is the best: what three say is right, what two say is wrong. Between answers with one vote each, .3 is."""
    known = [Judged(0.9, True, votes=3)] * 30 + [Judged(0.6, False, votes=2)] * 30
    rivals = [Judged(0.4, True)] * 20 + [Judged(0.2, False)] * 20
    assert calibration.threshold([(j.p_correct or 0, j.correct) for j in known + rivals]) == pytest.approx(0.75)
    assert calibration.fit(known + rivals).calibration.threshold == pytest.approx(0.3)


def test_without_rivals_of_equal_votes_nothing_is_measured() -> None:
    apart = by_votes(3, rights=(9, 9), wrongs=(0, 0)) + by_votes(1, rights=(0, 0), wrongs=(0, 9))
    with pytest.raises(ValueError, match="fewer than two right and two wrong answers have equally many votes"):
        calibration.fit(apart)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40))
def test_both_kinds_weigh_the_same_and_a_kind_alone_nothing(responses: list[tuple[int, bool]]) -> None:
    found = matching.weights(responses)
    for votes in range(5):
        rights, wrongs = (sum(w for w, r in zip(found, responses, strict=True) if r == (votes, kind)) for kind in (True, False))
        assert rights == pytest.approx(wrongs)
        assert (rights > 0) == ({(votes, True), (votes, False)} <= set(responses))
    assert matching.size(found) <= len(found) + 1e-9


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"schema": 2},
        [1],
        {"schema": 1, "calibration": {"tpr": 1}},
        {"schema": 1, "calibration": {"tpr": 2, "fpr": 0, "n": 1, "threshold": 0.5}},
        {"schema": 1, "calibration": {"tpr": 1, "fpr": 0, "n": 1, "threshold": 0.5, "matched_tpr": 2, "matched_fpr": 0, "matched_n": 1}},
    ],
)
def test_what_is_no_report_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="calibration"):
        calibration.from_json(wrong)


def test_a_file_of_before_is_read_with_its_critiques_as_copies() -> None:
    """It has no correlations: nobody has measured them, so several verdicts count as one."""
    old = {"schema": 1, "calibration": {"tpr": 0.8, "fpr": 0.2, "n": 50, "threshold": 0.5}}
    assert calibration.from_json(old) == Calibration(0.8, 0.2, 50, 0.5, rho_response=1.0, rho_answer=1.0, critiques=1)


def repeated(rng: random.Random, responses: int, times: int, *, copies: float, tpr: float = 0.7, fpr: float = 0.4) -> list[Judged]:
    """Critics that say what one critic said of a response with probability sqrt(`copies`), else speak for themselves."""
    judged = []
    for name in range(responses):
        correct = name % 2 == 0
        rate = tpr if correct else fpr
        heard = rng.random() < rate
        for _ in range(times):
            says = heard if rng.random() < copies**0.5 else rng.random() < rate
            judged.append(Judged(0.9 if says else 0.1, correct, f"r{name}"))
    return judged


@pytest.mark.parametrize("copies", [0.0, 0.3, 0.7, 1.0])
def test_the_correlation_of_critiques_of_one_response_is_found(copies: float) -> None:
    """With the weight of ten copies beside it, which 900 critiques outvoice."""
    found = calibration.fit(repeated(random.Random(1), 300, 3, copies=copies), Form(3, 96)).calibration
    assert found.rho_response == pytest.approx(copies, abs=0.08)
    assert (found.critiques, found.critique_tokens, found.n) == (3, 96, 300)
    assert found.rho_answer == 1.0, "no answer came twice"


def test_the_correlation_of_critiques_of_one_answer_is_found_apart() -> None:
    """Each answer has two responses of two critiques: the answers are independent of each other, and so are their responses."""
    judged = repeated(random.Random(2), 800, 2, copies=0.6)
    named = [replace(j, answer=f"a{int(str(j.response)[1:]) // 4}{j.correct}") for j in judged]
    found = calibration.fit(named, Form(2)).calibration
    assert found.rho_response == pytest.approx(0.6, abs=0.08)
    assert found.rho_answer == pytest.approx(0.0, abs=0.08)


@pytest.mark.parametrize("times", [1, 2])
def test_with_little_data_critiques_are_taken_for_copies(times: int) -> None:
    found = calibration.fit(repeated(random.Random(3), 8, times, copies=0.0), Form(times)).calibration
    assert found.rho_response > 0.3 if times == 2 else found.rho_response == 1.0


said = st.builds(Judged, st.floats(0, 1), st.booleans(), st.sampled_from("abcdef"), st.sampled_from("xyz"))


@given(st.lists(said, max_size=20))
def test_rates_and_correlations_are_shares_whatever_was_judged(judged: list[Judged]) -> None:
    sure = [Judged(p, correct, f"{correct}{k}") for k, (p, correct) in enumerate([(0.9, True), (0.8, True), (0.1, False), (0.2, False)])]
    found = calibration.fit([*sure, *judged], Form(3))
    assert calibration.from_json(found.as_json()) == found.calibration


def test_several_independent_critiques_are_better_than_one_and_copies_are_not() -> None:
    one = calibration.fit(repeated(random.Random(4), 400, 1, copies=0.0))
    own = calibration.fit(repeated(random.Random(4), 400, 5, copies=0.0), Form(5))
    copied = calibration.fit(repeated(random.Random(4), 400, 5, copies=1.0), Form(5))
    assert own.balanced_accuracy > one.balanced_accuracy + 0.04
    assert copied.balanced_accuracy == pytest.approx(one.balanced_accuracy, abs=0.05)
    assert own.calibration.balanced_accuracy == own.balanced_accuracy
    assert own.calibration.tpr == pytest.approx(one.calibration.tpr, abs=0.06), "the rates are those of one critique"


@pytest.mark.parametrize(
    ("accuracies", "tokens", "chosen"),
    [((0.70, 0.72), (100, 300), 0), ((0.60, 0.72), (100, 300), 1), ((0.72, 0.70), (300, 100), 1), ((0.5, 0.9, 0.88), (50, 400, 200), 2)],
    ids=["no better", "better", "the cheaper of equals", "among three"],
)
def test_the_form_that_pays_is_the_cheapest_of_the_best(accuracies: tuple[float, ...], tokens: tuple[float, ...], chosen: int) -> None:
    made = calibration.fit([Judged(0.9, True)] * 9 + [Judged(0.1, False)] * 9)
    reports = [
        replace(made, balanced_accuracy=accuracy, balanced_accuracy_error=0.03, tokens=float(spent))
        for accuracy, spent in zip(accuracies, tokens, strict=True)
    ]
    assert calibration.choose(reports) is reports[chosen]
