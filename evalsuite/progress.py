"""Shows a run while it goes on: a live bar on a terminal, a line now and then elsewhere. Writes to standard error only."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from evalsuite.grade import Grade, Outcome
from redraft.records import Record

EVERY_S = 15.0


class Tally:
    """The running numbers that both displays show."""

    def __init__(self) -> None:
        self.total = self.answered = self.graded = self.right = self.failed = self.tokens = 0
        self._begun = time.monotonic()

    def sentence(self) -> str:
        share = f"{self.right / self.graded:.1%} right of {self.graded}" if self.graded else "none graded yet"
        rate = self.tokens / max(time.monotonic() - self._begun, 1e-9)
        failures = f", {self.failed} infrastructure failures" if self.failed else ""
        return f"{share}, {rate:.0f} tok/s{failures}"


class PlainWatcher:
    """For logs and pipes: one line at least every EVERY_S seconds while something happens, and one at the end of each tenth."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()
        self._said_at = time.monotonic()
        self._said_tenth = 0

    def begin(self, total: int, already: int) -> None:
        self._tally.total, self._tally.answered = total, already
        self._said_tenth = already * 10 // max(total, 1)
        if already:
            self._console.print(f"resuming: {already} of {total} are finished already", highlight=False)

    def answered(self, sample: Record) -> None:
        self._tally.answered += 1
        self._tally.tokens += sample["completion_tokens"]
        self._say()

    def failed(self, failure: Record) -> None:
        self._tally.failed += 1
        self._console.print(f"failed: {failure['id']}: {failure['cause']}: {failure['message']}", highlight=False, markup=False)

    def graded(self, grade: Grade) -> None:
        self._tally.graded += 1
        self._tally.right += grade.final.outcome is Outcome.RIGHT
        self._say()

    def _say(self) -> None:
        tenth = self._tally.answered * 10 // max(self._tally.total, 1)
        now = time.monotonic()
        if tenth > self._said_tenth or now - self._said_at >= EVERY_S:
            self._said_tenth, self._said_at = tenth, now
            self._console.print(f"{self._tally.answered}/{self._tally.total}: {self._tally.sentence()}", highlight=False)

    def close(self) -> None:
        """Nothing to put away."""


class LiveWatcher:
    """For terminals: a bar with the numbers so far."""

    def __init__(self, console: Console, label: str) -> None:
        self._tally = Tally()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task(label, said="")

    def begin(self, total: int, already: int) -> None:
        self._tally.total = total
        self._bar.update(self._task, total=total, completed=already)
        self._bar.start()

    def answered(self, sample: Record) -> None:
        self._tally.tokens += sample["completion_tokens"]
        self._bar.update(self._task, advance=1, said=self._tally.sentence())

    def failed(self, failure: Record) -> None:
        self._tally.failed += 1
        self._bar.update(self._task, said=self._tally.sentence())

    def graded(self, grade: Grade) -> None:
        self._tally.graded += 1
        self._tally.right += grade.final.outcome is Outcome.RIGHT
        self._bar.update(self._task, said=self._tally.sentence())

    def close(self) -> None:
        self._bar.stop()


def watcher(console: Console, label: str) -> PlainWatcher | LiveWatcher:
    """The display that suits where the output goes."""
    return LiveWatcher(console, label) if console.is_terminal else PlainWatcher(console)
