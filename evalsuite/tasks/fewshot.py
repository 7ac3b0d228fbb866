"""Few-shot examples: solved problems of a train split, drawn for a whole task. Knows neither models nor transports."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from evalsuite.tasks.types import Problem, Shot
from redraft.errors import BadRequest


def draw(n: int, pool: Iterable[Problem], measured: Sequence[Problem], *, name: str, source: str) -> tuple[Shot, ...]:
    """`n` examples from `pool`, none of them a measured problem. They follow from the task's name and the pool alone.

    The draw for a larger `n` begins with that for a smaller one, and all problems of a task have the same examples, so that an engine's
    prefix cache holds them.
    """
    taken = {_same(problem) for problem in measured}
    usable = [problem for problem in pool if _same(problem) not in taken]
    if len(usable) < n:
        raise BadRequest(
            f"--num-fewshot {n}: {source} has {len(usable)} problems that are not among those of {name} itself", param="num_fewshot"
        )
    random.Random(f"fewshot/{name}").shuffle(usable)
    return tuple(Shot(problem.problem, _response(problem)) for problem in usable[:n])


def _same(problem: Problem) -> str:
    """Equal for problems that differ in spacing and case alone."""
    return " ".join(problem.problem.split()).casefold()


def _response(problem: Problem) -> str:
    """What the assistant is shown to have said: a reference, or the solution with its answer in a box."""
    if problem.references:
        return problem.references[0]
    box = f"\\boxed{{{problem.answer}}}"
    if problem.solution is None:
        return box
    return problem.solution if "\\boxed" in problem.solution else f"{problem.solution}\n\nThe answer is {box}."
