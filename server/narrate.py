"""Tells a loop as one ordered text, for clients that know only a single `reasoning` stream. Knows no HTTP.

Drafts are written in parallel, but a reader wants them one after the other: the step in front is told as it is generated, the ones
behind it are held back until their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from redraft.events import Event, StepEnded, StepStarted, StepText, VoteMoved
from redraft.types import Stage

TITLES = {Stage.SOLVE: "Draft", Stage.CRITIQUE: "Critique of draft", Stage.REVISE: "Revision"}
Step = tuple[Stage, int]


@dataclass(slots=True)
class _Held:
    title: str
    text: list[str] = field(default_factory=list)
    ended: bool = False


class Narrator:
    """Feed it a loop's events; `tell` gets the pieces of the story in reading order."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._waiting: dict[Step, _Held] = {}
        self._front: Step | None = None

    def feed(self, event: Event) -> None:
        match event:
            case StepStarted(stage, index, parent):
                title = f"{TITLES[stage]} {index + 1}" + ("" if parent is None else f" (of draft {parent + 1})")
                self._waiting[stage, index] = _Held(title)
            case StepText(stage, index, text):
                if (stage, index) == self._front:
                    self._tell(text)
                else:
                    self._waiting[stage, index].text.append(text)
            case StepEnded(stage, index):
                self._waiting[stage, index].text.append(self._ending(event))
                self._waiting[stage, index].ended = True
            case VoteMoved():
                return
        self._advance()

    def _advance(self) -> None:
        """Close the front step if it ended, and open the next ones for as long as they have ended too."""
        while self._waiting:
            step = next(iter(self._waiting))
            held = self._waiting[step]
            if step != self._front:
                self._tell(f"### {held.title}\n")
                self._front = step
            for text in held.text:
                self._tell(text)
            held.text.clear()
            if not held.ended:
                return
            del self._waiting[step]
            self._front = None

    @staticmethod
    def _ending(event: StepEnded) -> str:
        if event.critique is not None:
            belief = "" if event.critique.p_correct is None else f", p(correct) {event.critique.p_correct:.2f}"
            return f"\n\n[verdict: {event.critique.verdict.value}{belief}]\n\n"
        assert event.draft is not None
        if event.draft.answer is not None:
            return f"\n\n[answer: {event.draft.answer}]\n\n"
        return f"\n\n[no answer: {event.draft.finish_reason}]\n\n"
