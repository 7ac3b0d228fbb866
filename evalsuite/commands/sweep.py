"""`evalsuite sweep`: the same problems at several loads, one run directory each, and one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from evalsuite import tasks, words
from evalsuite.commands import options, show
from evalsuite.commands.exits import Exit
from evalsuite.commands.measure import Plan, Server, measure, sampled
from evalsuite.config import Strategy
from evalsuite.endpoint import Patience
from evalsuite.runner import Pace
from evalsuite.slo import Slo
from evalsuite.tasks import Fields
from redraft.errors import BadRequest


def sweep(
    *,
    task: options.TaskName,
    out: Annotated[Path, typer.Option(help="Directory for the runs, one folder for each load.")],
    base_url: options.BaseUrl = options.DEFAULT_URL,
    model: options.Model = None,
    concurrency: Annotated[str | None, typer.Option(help="Closed loop: problems in flight, such as 1,4,16,64.")] = None,
    rate: Annotated[str | None, typer.Option(help="Open loop: problems a second, such as 0.5,1,2.")] = None,
    limit: options.Limit = None,
    n: options.Responses = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    seed: options.Seed = None,
    slo: options.SloText = None,
    timeout: options.Timeout = 1800.0,
    retries: options.Retries = 0,
    api_key: options.ApiKey = None,
    data_dir: options.DataDir = None,
    problem_field: options.ProblemField = "problem",
    answer_field: options.AnswerField = "answer",
    as_json: options.AsJson = False,
) -> None:
    """Measure latency, throughput and goodput of streamed chats at several loads."""
    paces = _paces(concurrency, rate)
    objective = None if slo is None else Slo.parse(slo)
    loaded = tasks.load(task, data_dir=data_dir, fields=Fields(problem_field, answer_field), limit=limit)
    server = Server(base_url, api_key, Patience(timeout_s=timeout, retries=retries))
    sampling = sampled(Strategy.DIRECT, n, temperature, max_tokens=max_tokens or loaded.max_tokens, seed=seed)
    console = show.messages_console()
    summaries: dict[str, dict[str, Any]] = {}
    try:
        for name, pace in paces.items():
            console.print(f"{name}:", highlight=False)
            plan = Plan(loaded, server, Strategy.DIRECT, sampling, pace, model=model, out=out / name, slo=objective)
            summaries[name] = measure(plan, console).summary
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
    if as_json:
        sys.stdout.write(json.dumps(summaries, ensure_ascii=False) + "\n")
    else:
        _table(summaries)
    raise typer.Exit(Exit.OK if all(s["complete"] for s in summaries.values()) else Exit.INFRASTRUCTURE)


def _paces(concurrency: str | None, rate: str | None) -> dict[str, Pace]:
    """The loads, by the name of their folder."""
    if (concurrency is None) == (rate is None):
        raise BadRequest("give either --concurrency or --rate")
    text = concurrency or rate or ""
    try:
        loads = [float(part) if rate is not None else int(part) for part in text.split(",")]
    except ValueError as error:
        name, such = ("--rate", "0.5,1,2") if rate is not None else ("--concurrency", "1,4,16")
        raise BadRequest(f"{name}: expected numbers with commas between them, such as {such}, found {text!r}") from error
    if min(loads) <= 0:
        raise BadRequest(f"a load must be above 0, found {text}")
    if rate is not None:
        return {f"rate-{load:g}": Pace(rate=load, stream=True) for load in loads}
    return {f"concurrency-{load:g}": Pace(int(load), stream=True) for load in loads}


def _table(summaries: dict[str, dict[str, Any]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("load", "problems/s", "tokens/s"):
        table.add_column(head, no_wrap=True)
    for head in ("queue", "e2e", "first token", "gap", "good", "failed"):
        table.add_column(head)
    for name, value in summaries.items():
        rate, latency, goodput = value["throughput"], value["latency_s"], value["goodput"]
        table.add_row(
            name,
            f"{rate['problems_per_s']:.2f}",
            f"{rate['completion_tokens_per_s']:.0f}",
            *(words.seconds(latency[what]) for what in ("queue", "e2e", "ttft", "itl")),
            "-" if goodput is None else f"{goodput['share']:.0%}",
            str(value["counts"]["infrastructure_failures"]),
        )
    show.results_console().print(table)
