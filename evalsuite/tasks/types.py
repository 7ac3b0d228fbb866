"""What a task is: problems with gold answers, and where they came from. Knows no files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from redraft.prompts import SOLVE_SYSTEM


@dataclass(frozen=True, slots=True)
class Problem:
    """One row of a task. `id` is unique within it."""

    id: str
    problem: str
    answer: str
    """The gold answer, as the checker is to read it."""
    solution: str | None = None
    response: str | None = None
    """For a task of critiques: the response to judge; `answer` is then `correct` or `incorrect`."""
    references: tuple[str, ...] = ()
    """Texts that a response is measured against by a text metric, where they are not the gold itself. With them `answer` may be empty."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A solved example that stands before the problem in a prompt: one turn of the user, one of the assistant."""

    problem: str
    response: str


@dataclass(frozen=True, slots=True)
class Task:
    """Problems under one name."""

    name: str
    problems: tuple[Problem, ...]
    fingerprint: str
    """Equal for two tasks only if they hold the same problems with the same golds; a limit does not change it."""
    max_tokens: int
    """How much a response may cost unless the run says otherwise."""
    source: str
    bad_rows: tuple[str, ...] = ()
    """What was wrong with each row that was left out, naming file, line and field."""
    system: str = SOLVE_SYSTEM
    """The system message that asks for an answer in the form that the checker reads."""
    shots: tuple[Shot, ...] = ()
    shots_source: str | None = None
    """Where the shots were drawn from; never from the problems above."""


def content(p: Problem) -> list[object]:
    """What makes a problem the one it is. References are in it where there are some."""
    return [p.id, p.problem, p.answer, p.response, *([list(p.references)] if p.references else [])]


def fingerprint(problems: Iterable[Problem]) -> str:
    """A content hash over ids, problems, golds and references, in order."""
    digest = hashlib.sha256()
    for p in problems:
        digest.update(json.dumps(content(p), ensure_ascii=False).encode())
        digest.update(b"\n")
    return digest.hexdigest()[:16]
