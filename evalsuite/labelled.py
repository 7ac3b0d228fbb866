"""A task for critics, made of a run's graded responses: each is labelled `correct` or `incorrect` by the checker. Asks no model."""

from __future__ import annotations

from pathlib import Path

from evalsuite import store
from evalsuite.config import RunConfig, Strategy
from evalsuite.grade import Outcome
from evalsuite.tasks import Problem, Task
from evalsuite.tasks.types import fingerprint
from redraft.errors import BadRequest
from redraft.types import Verdict

SEPARATOR = "#"
CRITIQUE_TOKENS = 512


def problem_of(response_id: str) -> str:
    """The id of the problem that a labelled response answers."""
    return response_id.rpartition(SEPARATOR)[0] or response_id


def responses_of(directory: Path, limit: int | None = None) -> Task:
    """Every response of a graded `direct` or `vote` run that says anything, as a problem whose answer is its label."""
    config = RunConfig.from_json(store.load_json(directory / store.CONFIG))
    if config.strategy not in (Strategy.DIRECT, Strategy.VOTE, Strategy.ADAPTIVE):
        raise BadRequest(
            f"{directory} is a run with strategy {config.strategy}; critics judge the responses of direct, vote and adaptive", param="task"
        )
    results = store.load(directory)
    problems = tuple(
        Problem(
            f"{sample['id']}{SEPARATOR}{position}",
            sample["problem"],
            str(Verdict.CORRECT if mark["outcome"] == Outcome.RIGHT else Verdict.INCORRECT),
            response=response["content"],
        )
        for key, sample in results.samples.items()
        if key in results.grades
        for position, (response, mark) in enumerate(zip(sample["responses"], results.grades[key]["marks"], strict=True))
        if response["content"].strip()
    )
    if not problems:
        raise BadRequest(f"{directory} holds no graded response", param="task")
    return Task(f"{config.task}-responses", problems[:limit], fingerprint(problems), CRITIQUE_TOKENS, str(directory))
