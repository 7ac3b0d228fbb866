from __future__ import annotations

import math

import pytest

from redraft import parse, prompts
from redraft.types import Verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("all is well\n\nConclusion: right [END]", Verdict.CORRECT),
        ("Conclusion: **Wrong**", Verdict.INCORRECT),
        ("Conclusion: right\nno, wait\nConclusion: incorrect [END]", Verdict.INCORRECT),
        ("Conclusion: rightly so", None),
        ("the solution is right", None),
        ("", None),
    ],
)
def test_the_last_stated_conclusion_counts(text: str, verdict: Verdict | None) -> None:
    assert parse.conclusion(text) is verdict


def test_what_is_rendered_is_read_back() -> None:
    for word, verdict in ((prompts.RIGHT, Verdict.CORRECT), (prompts.WRONG, Verdict.INCORRECT)):
        reply = prompts.critique_reply("step 2 adds 1", word)
        assert parse.conclusion(reply) is verdict
        assert parse.body(reply) == "Critique:\nstep 2 adds 1"


def test_belief_is_the_share_of_the_right_labels() -> None:
    found = parse.belief({" right": math.log(0.3), " Correct": math.log(0.3), " wrong": math.log(0.2), " the": math.log(0.2)})
    assert found.p_correct == pytest.approx(0.75)
    assert found.label_mass == pytest.approx(0.8)


def test_belief_needs_the_labels_to_say_something() -> None:
    assert parse.belief({" right": math.log(0.03), " maybe": math.log(0.9)}).p_correct is None
    assert parse.belief({}).p_correct is None
