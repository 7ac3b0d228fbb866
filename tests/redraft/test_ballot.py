"""Whatever the order in which responses arrive, equal sets of them elect the same answer; ties go to the greedy draft's."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from redraft.ballot import Ballot
from redraft.types import Calibration, Candidate, Critique, Draft, Stage, Verdict
from tests.conftest import WordChecker

SHARP = Calibration(0.8, 0.3, 400, rho_answer=0.3)
answers = st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=8)


def response(index: int, answer: str | None, stage: Stage = Stage.SOLVE, parent: int | None = None) -> Draft:
    return Draft(index, "lost" if answer is None else f"= {answer}", None, "stop", stage, parent)


def elected(drafts: list[Draft], late: list[Draft], critiques: list[Critique]) -> tuple[tuple[Candidate, ...], int | None]:
    async def fill() -> Ballot:
        ballot = Ballot(WordChecker(), SHARP)
        for draft in drafts:
            await ballot.add(draft)
        ballot.close()
        for draft in late:
            await ballot.add(draft)
        ballot.critiques += critiques
        return ballot

    ballot = asyncio.run(fill())
    return ballot.candidates(), ballot.chosen()


@given(first=answers, second=answers, verdicts=st.lists(st.sampled_from(list(Verdict)), max_size=4), shuffled=st.randoms())
def test_the_order_of_arrival_decides_nothing(first: list[str | None], second: list[str | None], verdicts: list[Verdict], shuffled) -> None:
    drafts = [response(index, answer) for index, answer in enumerate(first)]
    late = [response(len(first) + k, answer, Stage.REVISE, k % len(first)) for k, answer in enumerate(second)]
    critiques = [Critique(index % len(first), "", verdict, None) for index, verdict in enumerate(verdicts)]
    expected = elected(drafts, late, critiques)
    for some in (drafts, late, critiques):
        shuffled.shuffle(some)
    assert elected(drafts, late, critiques) == expected


@given(first=answers)
def test_a_tie_goes_to_the_greedy_drafts_answer(first: list[str | None]) -> None:
    candidates, chosen = elected([response(index, answer) for index, answer in enumerate(first)], [], [])
    tied = [c for c in candidates if c.weight == candidates[0].weight]
    if any(0 in c.members for c in tied):
        assert chosen == 0
    if candidates:
        assert chosen == min(min(c.members) for c in tied)


@given(first=answers.filter(any), second=answers)
def test_a_new_answer_with_one_supporter_is_never_elected(first: list[str | None], second: list[str | None]) -> None:
    """Whatever the critic says of the old ones."""
    drafts = [response(index, answer) for index, answer in enumerate(first)]
    late = [response(len(first) + k, answer) for k, answer in enumerate(second)]
    critiques = [Critique(index, "", Verdict.INCORRECT, 0.0) for index in range(len(first))]
    candidates, chosen = elected(drafts, late, critiques)
    assert chosen is not None
    winner = next(c for c in candidates if chosen in c.members)
    assert winner == candidates[0]
    assert any(member < len(first) for member in winner.members) or len(winner.members) >= 2


def test_the_last_word_on_an_answer_counts_no_more_than_the_first() -> None:
    """Verdicts on several responses of one answer are discounted, not overwritten."""
    drafts = [response(0, "1"), response(1, "2"), response(2, "2"), response(3, "1")]
    both = [Critique(1, "", Verdict.INCORRECT, 0.1), Critique(2, "", Verdict.CORRECT, 0.9)]
    (candidates, _), (turned, _) = elected(drafts, [], both), elected(drafts, [], both[::-1])
    assert candidates == turned
