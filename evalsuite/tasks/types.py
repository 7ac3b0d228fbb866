"""What a task is: problems with gold answers, and where they came from. Knows neither files nor prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass


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


def fingerprint(problems: Iterable[Problem]) -> str:
    """A content hash over ids, problems and golds, in order."""
    digest = hashlib.sha256()
    for p in problems:
        digest.update(json.dumps([p.id, p.problem, p.answer, p.response], ensure_ascii=False).encode())
        digest.update(b"\n")
    return digest.hexdigest()[:16]
