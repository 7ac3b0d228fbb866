"""The stages that make data: `sample`, `solutions`, `inject`, `critique`, `verify`, `select`. Each takes paths and gives paths."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.errors import BadConfig

Task = Annotated[str, typer.Argument(metavar="TASK", help="A task of evalsuite (redraft-arith@SEED, gsm8k, ...) or a .jsonl or .csv file.")]
Source = Annotated[Path, typer.Argument(metavar="IN", exists=True, dir_okay=False, help="JSONL.")]
Output = Annotated[Path, typer.Argument(metavar="OUT", help="JSONL; a run that was cut off goes on with it.")]
Seed = Annotated[int, typer.Option(min=0, help="Everything that is drawn follows from it.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first problems.")]


def sample(
    task: Task,
    output: Output,
    engine_url: Annotated[str, typer.Option(help="An OpenAI-compatible server; its key is read from REDRAFT_ENGINE_API_KEY.")],
    model: Annotated[str | None, typer.Option(help="Default: the first that the server names.")] = None,
    limit: Limit = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Responses per problem and temperature.")] = 4,
    temperatures: Annotated[str, typer.Option(help="Separated by commas.")] = "0.7,1.0",
    max_tokens: Annotated[int, typer.Option(min=1)] = 512,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 16,
    seed: Annotated[int | None, typer.Option(help="Sent to the server with each request.")] = None,
) -> None:
    """Sample responses from a running server, each labelled right or wrong."""
    from evalsuite import tasks
    from redraft.remote import RemoteEngine
    from trainer.checking import MathChecker
    from trainer.sample import Plan
    from trainer.sample import sample as run

    console, heats = Console(stderr=True), _floats(temperatures)

    async def go() -> Counter[str]:
        engine = RemoteEngine(engine_url, api_key=os.environ.get("REDRAFT_ENGINE_API_KEY"))
        try:
            name = model or (await engine.models())[0]
            plan = Plan(name, n, heats, max_tokens, seed, concurrency)
            return await run(tasks.load(task, limit=limit), output, engine, MathChecker(), plan, console)
        finally:
            await engine.aclose()

    _tell(console, asyncio.run(go()), output)


def solutions(task: Task, output: Output, limit: Limit = None) -> None:
    """Write the problems' reference solutions as right responses: data for which no model is needed."""
    from evalsuite import tasks
    from trainer.solutions import solutions as run

    _tell(Console(stderr=True), run(tasks.load(task, limit=limit), output), output)


def inject(source: Source, output: Output, seed: Seed = 0) -> None:
    """Put beside each right response a wrong twin: one step made false, and carried through."""
    from trainer.checking import MathChecker
    from trainer.inject import inject as run

    console = Console(stderr=True)
    _tell(console, run(source, output, MathChecker(), seed=seed, console=console), output)


def critique(
    source: Source,
    output: Output,
    seed: Seed = 0,
    samples: Annotated[int, typer.Option(min=1, help="Wordings per response.")] = 1,
) -> None:
    """Let the symbolic teacher critique responses; what it cannot judge is said so."""
    from trainer.checking import MathChecker
    from trainer.critique import critique as run

    console = Console(stderr=True)
    _tell(console, run(source, output, MathChecker(), seed=seed, samples=samples, console=console), output)


def verify(
    source: Source,
    output: Output,
    test_set: Annotated[list[Path] | None, typer.Option(exists=True, dir_okay=False, help="JSONL of problems not to train on.")] = None,
) -> None:
    """Keep only critiques that can be trusted; rejections go to OUT's neighbour `.rejected`, the counts to standard output as JSON."""
    from trainer.checking import MathChecker
    from trainer.verify import rejections, summary
    from trainer.verify import verify as run

    console = Console(stderr=True)
    found = run(source, output, MathChecker(), test_sets=test_set or [], console=console)
    console.print(
        f"{found.kept} kept in {output}, {found.rejected.total()} rejected in {rejections(output)}; teacher noise {found.noise:.1%}"
    )
    typer.echo(json.dumps(summary(found)))


def select(
    source: Source,
    output: Output,
    right: Annotated[float | None, typer.Option(min=0, max=1, help="The share of rows that are right.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many to keep in all.")] = None,
    seed: Seed = 0,
) -> None:
    """Choose critiques, or labelled responses, in a mix of right and wrong, drawn by a seed."""
    from trainer.select import select as run

    _tell(Console(stderr=True), run(source, output, right=right, limit=limit, seed=seed), output)


def _floats(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadConfig(f"--temperatures: {text!r}: expected numbers separated by commas", param="temperatures") from None
    if len(set(values)) != len(values):
        raise BadConfig(f"--temperatures: {text!r}: expected each once", param="temperatures")
    return values


def _tell(console: Console, counts: Counter[str], output: Path) -> None:
    console.print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())), f"in {output}", highlight=False)
    typer.echo(str(output))
