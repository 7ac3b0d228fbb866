"""One stage in a process of its own, with the small checker: what the kill tests start."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from rich.console import Console

from evalsuite import tasks
from evalsuite.tasks import Fields
from redraft.remote import RemoteEngine
from trainer.stages.consult import consult
from trainer.stages.critique import critique
from trainer.stages.inject import inject
from trainer.stages.sample import Plan, sample
from trainer.stages.verify import verify
from trainer.teachers.endpoint import Endpoint, Patience
from trainer.teachers.model_teacher import Manner, ModelTeacher, Spent
from trainer.teachers.pace import Pace
from trainer.teachers.replies import Replies

from .conftest import BoxChecker

QUIET = Console(file=io.StringIO())


def run(stage: str, source: Path, output: Path, url: str) -> None:
    checker = BoxChecker()
    match stage:
        case "inject":
            inject(source, output, checker, seed=1, console=QUIET)
        case "critique":
            critique(source, output, checker, seed=1, samples=2, console=QUIET)
        case "verify":
            verify(source, output, checker, console=QUIET)
        case "sample":
            asyncio.run(_sample(source, output, url))
        case "consult":
            asyncio.run(_consult(source, output, url))


async def _sample(source: Path, output: Path, url: str) -> None:
    engine = RemoteEngine(url)
    task = tasks.load(str(source), fields=Fields(answer="gold"))
    await sample(task, output, engine, BoxChecker(), Plan("scripted", 2, (0.5,), 50, None, 8), QUIET)
    await engine.aclose()


async def _consult(source: Path, output: Path, url: str) -> None:
    endpoint = Endpoint(url, api_key=None, timeout_s=30.0, pace=Pace(), patience=Patience())
    with Replies(output.parent / "replies") as replies:
        async with endpoint:
            await consult(
                source, output, ModelTeacher(endpoint, Manner("teacher"), replies, Spent()), samples=1, concurrency=8, console=QUIET
            )
