from __future__ import annotations

from redraft.events import StepEnded, StepStarted, StepText
from redraft.types import Critique, Draft, Stage, Verdict
from server.narrate import Narrator


def test_parallel_steps_are_told_one_after_the_other_as_they_come() -> None:
    told: list[str] = []
    narrator = Narrator(told.append)
    for event in (
        StepStarted(Stage.SOLVE, 0),
        StepStarted(Stage.SOLVE, 1),
        StepText(Stage.SOLVE, 1, "late "),
        StepText(Stage.SOLVE, 0, "first "),
    ):
        narrator.feed(event)
    assert "".join(told) == "### Draft 1\nfirst "
    narrator.feed(StepEnded(Stage.SOLVE, 0, draft=Draft(0, "first", "4", "stop")))
    assert "".join(told).endswith("[answer: 4]\n\n### Draft 2\nlate ")
    narrator.feed(StepText(Stage.SOLVE, 1, "again"))
    assert told[-1] == "again"


def test_a_step_that_ended_behind_another_is_told_whole() -> None:
    told: list[str] = []
    narrator = Narrator(told.append)
    narrator.feed(StepStarted(Stage.CRITIQUE, 0))
    narrator.feed(StepStarted(Stage.CRITIQUE, 2))
    narrator.feed(StepText(Stage.CRITIQUE, 2, "bad"))
    narrator.feed(StepEnded(Stage.CRITIQUE, 2, critique=Critique(2, "bad", Verdict.INCORRECT, 0.25)))
    narrator.feed(StepEnded(Stage.CRITIQUE, 0, critique=Critique(0, "", Verdict.ABSTAIN, None, "mute")))
    assert "".join(told) == (
        "### Critique of draft 1\n\n\n[verdict: abstain]\n\n### Critique of draft 3\nbad\n\n[verdict: incorrect, p(correct) 0.25]\n\n"
    )
