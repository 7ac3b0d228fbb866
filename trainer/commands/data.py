"""The stages that make data, each from paths to paths: `sample`, `solutions`, `inject`, `verify`, `select`; `critique` has its own file."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.commands.critique import critique
from trainer.commands.options import AllowFailed, Limit, Output, Right, Seed, Source, Task, complete, floats, tell
from trainer.errors import BadConfig

__all__ = ["critique", "inject", "sample", "select", "solutions", "verify"]


def sample(
    task: Task,
    output: Output,
    engine_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible server; its key is read from REDRAFT_ENGINE_API_KEY.")
    ] = None,
    serve: Annotated[
        str | None, typer.Option(metavar="ARGUMENTS", help="Start `redraft serve ARGUMENTS` (MODEL and flags) for this run, and end it.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Default: the first that the server names.")] = None,
    limit: Limit = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Responses per problem and temperature.")] = 4,
    temperatures: Annotated[str, typer.Option("--temperatures", "--temperature", help="Separated by commas.")] = "0.7,1.0",
    max_tokens: Annotated[int, typer.Option(min=1)] = 512,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 16,
    seed: Annotated[int | None, typer.Option(help="Sent to the server with each request.")] = None,
    right: Right = None,
    keep: Annotated[int | None, typer.Option(min=1, help="How many to keep in all, in the mix of --right.")] = None,
    serve_timeout: Annotated[float, typer.Option(min=1, help="Seconds that a server of --serve may take to be ready.")] = 900.0,
    allow_failed: AllowFailed = False,
) -> None:
    """Sample responses from a server, each labelled right or wrong.

    With --right or --keep OUT has a mix that is drawn from them, and all responses lie in OUT's neighbour `.all`.
    """
    from evalsuite import tasks
    from redraft.remote import RemoteEngine
    from trainer import server
    from trainer.checking import MathChecker
    from trainer.stages.sample import Plan
    from trainer.stages.sample import sample as run
    from trainer.stages.select import select as choose

    if (engine_url is None) == (serve is None):
        raise BadConfig("expected one of --engine-url and --serve", param="engine_url")
    console, heats = Console(stderr=True), floats(temperatures, "temperatures")
    problems = tasks.load(task, limit=limit)
    mixed = right is not None or keep is not None
    everything = output.with_name(f"{output.stem}.all{output.suffix}") if mixed else output

    async def go(url: str) -> Counter[str]:
        engine = RemoteEngine(url, api_key=os.environ.get("REDRAFT_ENGINE_API_KEY"))
        try:
            name = model or (await engine.models())[0]
            plan = Plan(name, n, heats, max_tokens, seed, concurrency)
            return await run(problems, everything, engine, MathChecker(), plan, console)
        finally:
            await engine.aclose()

    with ExitStack() as stack:
        if serve is not None:
            port = server.free_port()
            engine_url = f"http://127.0.0.1:{port}"
            command, log = server.redraft_serve(serve, port), output.with_name(f"{output.stem}.server.log")
            stack.enter_context(server.serving(command, engine_url, log=log, timeout_s=serve_timeout, console=console))
        counts = asyncio.run(go(engine_url or ""))
    complete(counts, everything, allow_failed=allow_failed)
    if mixed:
        console.print(f"sampled: {', '.join(f'{count} {name}' for name, count in sorted(counts.items()))} in {everything}", highlight=False)
        counts = choose(everything, output, right=right, limit=keep, seed=seed or 0)
    tell(console, counts, output)


def solutions(task: Task, output: Output, limit: Limit = None) -> None:
    """Write the problems' reference solutions as right responses: data for which no model is needed."""
    from evalsuite import tasks
    from trainer.stages.solutions import solutions as run

    tell(Console(stderr=True), run(tasks.load(task, limit=limit), output), output)


def inject(
    source: Source,
    output: Output,
    seed: Seed = 0,
    twins: Annotated[int, typer.Option(min=1, help="Wrong twins of a right response, at most: each has another step or slip.")] = 1,
) -> None:
    """Put beside each right response wrong twins: one step made false, and carried through."""
    from trainer.checking import MathChecker
    from trainer.data import tables
    from trainer.stages.inject import inject as run

    console = Console(stderr=True)
    tell(console, run(tables.place(source), output, MathChecker(), seed=seed, twins=twins, console=console), output)


def verify(
    source: Source,
    output: Output,
    test_set: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="A .jsonl, .json or .parquet file of problems not to train on; several are fine."),
    ] = None,
    test_task: Annotated[list[str] | None, typer.Option(help="A task of evalsuite not to train on (gsm8k, math500, ...); several.")] = None,
    allow_unanswered: Annotated[
        bool, typer.Option("--allow-unanswered", help="Keep critiques that call a response wrong and give no right answer.")
    ] = False,
) -> None:
    """Keep only critiques that can be trusted.

    Rejections go to OUT's neighbour `.rejected`, the report to `.report.json` and to standard output.
    """
    from evalsuite import tasks
    from trainer.checking import MathChecker
    from trainer.data import tables
    from trainer.stages.verify import rejections, summary
    from trainer.stages.verify import verify as run

    console = Console(stderr=True)
    found = run(
        tables.place(source),
        output,
        MathChecker(),
        test_sets=test_set or [],
        test_tasks=[tasks.load(name) for name in test_task or []],
        allow_unanswered=allow_unanswered,
        console=console,
    )
    console.print(found.rates.table())
    reasons = ", ".join(f"{count} {reason}" for reason, count in found.rejected.most_common())
    console.print(
        f"{found.kept} kept in {output}, {found.rejected.total()} rejected in {rejections(output)}" + (f": {reasons}" if reasons else "")
    )
    typer.echo(json.dumps(summary(found)))


def select(
    source: Source,
    output: Output,
    right: Right = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many to keep in all.")] = None,
    seed: Seed = 0,
) -> None:
    """Choose critiques, or labelled responses, in a mix of right and wrong, drawn by a seed."""
    from trainer.data import tables
    from trainer.stages.select import select as run

    tell(Console(stderr=True), run(tables.place(source), output, right=right, limit=limit, seed=seed), output)
