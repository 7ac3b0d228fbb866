"""Completions in, rewards out: the graders as one reward function for TRL. Knows nothing of how completions come about.

The reward is the mean of the graders' scores, so it too is from 0 to 1. A completion that cannot be graded stops the run, or has no
reward and trains nothing, as the settings say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from evalsuite.graders import GraderFailed, Item, Judge, MissingField, Resources, Sample, check_item, grade
from trainer.errors import BadRow
from trainer.fitting.render import Rendered
from trainer.rft import Rft

Scores = dict[str, float]


def check_rows(rft: Rft, rows: Iterable[Rendered]) -> None:
    """Every row has the fields that the graders' templates ask for; raises `BadRow` for the first that has not."""
    for row in rows:
        for grader in rft.graders:
            try:
                check_item(grader, row.item or {})
            except MissingField as error:
                raise BadRow(row.where, error.path.removeprefix("item."), f"{error.expected} (grader {grader.name!r} reads it)") from error


class Rewards:
    """Grades each completion by the item of its row."""

    __name__ = "graders"

    def __init__(self, rft: Rft, items: Sequence[Item], decode: Callable[[list[int]], str], end_ids: Collection[int]) -> None:
        self.rft = rft
        self.items = items
        self.decode = decode
        self.end_ids = frozenset(end_ids)

    def __call__(
        self, *, prompts: Sequence[str], completion_ids: Sequence[list[int]], log_metric: Callable[[str, float], None], **rest: Any
    ) -> list[float | None]:
        """`prompts` are numbers of rows, as texts."""
        samples = [self.sample(ids) for ids in completion_ids]
        with ExitStack() as open_things:
            resources = Resources(judge=self._judge(open_things))
            threads = open_things.enter_context(ThreadPoolExecutor(self.rft.workers, thread_name_prefix="grader"))

            def scores(sample: Sample, prompt: str) -> Scores | None:
                return self._scores(sample, self.items[int(prompt)], resources)

            found = list(threads.map(scores, samples, prompts))
        self._log(found, log_metric)
        return [None if one is None else sum(one.values()) / len(one) for one in found]

    def sample(self, ids: list[int]) -> Sample:
        """A completion's text as a server gives it: without its end token, and with why it ended."""
        ended = bool(ids) and ids[-1] in self.end_ids
        return Sample(self.decode(ids), "stop" if ended else "length", len(ids))

    def _scores(self, sample: Sample, item: Item, resources: Resources) -> Scores | None:
        try:
            return {grader.name: grade(grader, sample, item, resources).value for grader in self.rft.graders}
        except GraderFailed:
            if self.rft.on_grader_error == "stop":
                raise
            return None

    def _judge(self, open_things: ExitStack) -> Judge | None:
        if self.rft.judge_url is None:
            return None
        return open_things.enter_context(Judge(self.rft.judge_url, os.environ.get("GRADER_API_KEY")))

    def _log(self, found: Sequence[Scores | None], log_metric: Callable[[str, float], None]) -> None:
        graded = [scores for scores in found if scores is not None]
        for grader in self.rft.graders if graded else ():
            log_metric(f"grader/{grader.name}", sum(scores[grader.name] for scores in graded) / len(graded))
        log_metric("grader_errors", float(len(found) - len(graded)))
