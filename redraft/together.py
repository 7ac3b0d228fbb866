"""Coroutines side by side: one that fails cancels the others, and its typed error comes out as itself, not in a group."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from redraft.budget import Exhausted
from redraft.errors import RedraftError

T = TypeVar("T")
Steps = Sequence[Coroutine[Any, Any, T]]


async def together(steps: Steps[T]) -> list[T]:
    """The results of `steps`, in their order. Raises the first typed error of any of them."""
    failures: list[BaseException] = []
    tasks: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step) for step in steps]
    except* RedraftError as failed:
        failures += failed.exceptions
    if failures:
        raise failures[0]
    return [task.result() for task in tasks]


async def within_budget(steps: Steps[T]) -> list[T]:
    """The results of those that found a budget. When none did, the limit is raised."""

    async def guarded(step: Coroutine[Any, Any, T]) -> T | Exhausted:
        try:
            return await step
        except Exhausted as limit:
            return limit

    outcomes = await together([guarded(step) for step in steps])
    limits = [outcome for outcome in outcomes if isinstance(outcome, Exhausted)]
    if limits and len(limits) == len(outcomes):
        raise limits[0]
    return [outcome for outcome in outcomes if not isinstance(outcome, Exhausted)]
