"""The same questions for every model of an experiment: verdicts on labelled responses, and direct answers. Knows no server.

What is answered lies in logs, one a question paper; a killed exam goes on where it stopped, and a finished one asks nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import Progress

from evalsuite import tasks
from redraft import prompts, records
from trainer.checking import MathChecker, label

CHUNK = 64
"""Questions that are asked at a time; the log is written after each such piece."""
Q = TypeVar("Q")


class Candidate(Protocol):
    """Who is examined. Both answer greedily, as records."""

    async def judge(self, problem: str, response: str, max_tokens: int) -> dict[str, Any]:
        """A verdict on a response: `verdict`, `p_correct` (None where it abstains), `tokens`."""
        ...

    async def solve(self, problem: str, max_tokens: int) -> dict[str, Any]:
        """A direct answer: `text`, `tokens`, and whether it ended by itself, `whole`."""
        ...


@dataclass(frozen=True)
class Paper:
    """Questions on one kind of problem: labelled responses to judge, and problems to solve."""

    name: str
    responses: Sequence[records.Record]
    problems: Sequence[tasks.Problem]
    critique_tokens: int
    answer_tokens: int

    def logs(self, log: Path) -> dict[str, Path]:
        """Where the answers of both parts lie, for the examination called `log`."""
        return {part: log.with_name(f"{log.name}-{part}-{self.name}.jsonl") for part in ("critic", "direct")}

    def left(self, log: Path) -> int:
        """How many questions have no answer yet."""
        return sum(len(set(self._ids(part)) - answered(path)) for part, path in self.logs(log).items())

    def read(self, log: Path) -> dict[str, list[records.Record]]:
        """The answers, in the order of the questions."""
        found = {}
        for part, path in self.logs(log).items():
            by_id = {record["id"]: record for _, record in records.read(path)}
            found[f"{part}/{self.name}"] = [by_id[name] for name in self._ids(part)]
        return found

    def _ids(self, part: str) -> list[str]:
        return [row["id"] for row in self.responses] if part == "critic" else [problem.id for problem in self.problems]

    async def sit(self, candidate: Candidate, log: Path, console: Console) -> None:
        """Answer what has no answer yet."""
        checker = MathChecker()

        async def judged(row: records.Record) -> records.Record:
            said = await candidate.judge(row["problem"], row["response"], self.critique_tokens)
            return {"id": row["id"], "problem": row["problem"], "label": row["label"], **said}

        async def solved(problem: tasks.Problem) -> records.Record:
            said = await candidate.solve(problem.problem, self.answer_tokens)
            text = said["text"]
            return {
                "id": problem.id,
                "problem": problem.problem,
                "right": label(checker, str(problem.answer), text) == prompts.RIGHT,
                "well_formed": said["whole"] and "\\boxed{" in text and checker.extract(text) is not None,
                **said,
            }

        logs = self.logs(log)
        await _each(dict(zip(self._ids("critic"), self.responses, strict=True)), judged, logs["critic"], console)
        await _each(dict(zip(self._ids("direct"), self.problems, strict=True)), solved, logs["direct"], console)


async def _each(questions: Mapping[str, Q], ask: Callable[[Q], Awaitable[records.Record]], log: Path, console: Console) -> None:
    had = answered(log)
    todo = [question for name, question in questions.items() if name not in had]
    with records.Log(log) as file, Progress(console=console, transient=True) as bar:
        shown = bar.add_task(log.stem, total=len(todo))
        for at in range(0, len(todo), CHUNK):
            for record in await asyncio.gather(*(ask(question) for question in todo[at : at + CHUNK])):
                file.append(record)
            bar.advance(shown, min(CHUNK, len(todo) - at))


def answered(log: Path) -> set[str]:
    """Ids in a log; a last line that a kill cut off is taken away."""
    with records.Log(log):
        return {record["id"] for _, record in records.read(log)}


async def examine(candidate: Candidate, papers: Sequence[Paper], log: Path, console: Console) -> None:
    for paper in papers:
        await paper.sit(candidate, log, console)
