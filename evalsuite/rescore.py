"""Checks the saved responses of a run again, as when the checker has changed. Asks no model."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite import store, summary
from evalsuite.config import RunConfig, Strategy
from evalsuite.grade import Checker, grade
from evalsuite.runner import reply_of
from evalsuite.score_texts import score_texts
from evalsuite.slo import Slo
from evalsuite.store import Results
from redraft.errors import BadRequest

AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Rescored:
    """The new summary, and how many final answers went from which outcome to which."""

    summary: dict[str, Any]
    changes: dict[str, int]


async def rescore(directory: Path, checker: Checker, metrics: Sequence[str] = ()) -> Rescored:
    """Append a new grade for every sample of the run in `directory`, and scores by these text metrics where they are not there yet."""
    config = RunConfig.from_json(store.load_json(directory / store.CONFIG))
    if config.strategy is Strategy.CRITIQUE:
        raise BadRequest(f"{directory} judges verdicts, not answers: there is nothing to check again")
    changes: Counter[str] = Counter()
    with store.opened(directory, config, must_exist=True) as opened:
        before = {key: record["final"]["outcome"] for key, record in opened.results.grades.items()}
        turns = asyncio.Semaphore(AT_ONCE)

        async def again(key: str) -> None:
            async with turns:
                sample = opened.results.samples[key]
                judged = await grade(config.strategy, sample["gold"], reply_of(sample), checker)
            opened.add("grade", key, **judged.as_json())
            was = before.get(key, "ungraded")
            if was != judged.final.outcome:
                changes[f"{was}->{judged.final.outcome}"] += 1

        async with asyncio.TaskGroup() as group:
            for key in list(opened.results.samples):
                group.create_task(again(key))
        if metrics:
            score_texts(opened, metrics)
        value = _summary(directory, config, opened.results)
    return Rescored(value, dict(changes))


def _summary(directory: Path, config: RunConfig, results: Results) -> dict[str, Any]:
    keys = [*results.samples, *results.failures]
    path = directory / store.SUMMARY
    told = store.load_json(path) if path.is_file() else {}
    facts = told.get("task") or {"name": config.task, "fingerprint": config.task_fingerprint, "source": "unknown", "bad_rows": 0}
    slo = Slo(told["goodput"]["slo_s"]) if told.get("goodput") else None
    return summary.summarise(config, {**facts, "problems": len(keys)}, keys, results, slo)
