"""`evalsuite run`: a task against an endpoint, from options to exit code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from evalsuite import labelled, summary, tasks, words
from evalsuite.commands import options, show
from evalsuite.commands.exits import Exit
from evalsuite.commands.measure import Measured, Plan, Server, measure, sampled
from evalsuite.config import Strategy
from evalsuite.endpoint import Patience
from evalsuite.runner import Pace
from evalsuite.slo import Slo
from evalsuite.tasks import Fields, Task
from redraft.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a run must reach for exit code 0."""

    min_accuracy: float | None
    max_p95_latency_s: float | None
    max_p95_ttft_s: float | None


def run(
    *,
    task: options.TaskName,
    base_url: options.BaseUrl = options.DEFAULT_URL,
    model: options.Model = None,
    strategy: Annotated[Strategy, typer.Option(help="How a problem is turned into an answer.")] = Strategy.DIRECT,
    limit: options.Limit = None,
    n: options.Responses = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    seed: options.Seed = None,
    extra_body: options.ExtraBody = None,
    critic: Annotated[str | None, typer.Option(help="For loop: the adapter that critiques.")] = None,
    rounds: Annotated[int | None, typer.Option(min=0, help="For loop: rounds of critique and revision.")] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="For loop: tokens that all stages together may take.")] = None,
    deadline: Annotated[float | None, typer.Option(min=0.1, help="For loop: seconds a problem may take.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Problems in flight at once.")] = 32,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Instead: problems a second, arriving as a Poisson process.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Stream chats, to measure time to first token and gaps.")] = False,
    slo: options.SloText = None,
    timeout: options.Timeout = 1800.0,
    retries: options.Retries = 4,
    api_key: options.ApiKey = None,
    data_dir: options.DataDir = None,
    problem_field: options.ProblemField = "problem",
    answer_field: options.AnswerField = "answer",
    allow_bad_rows: Annotated[bool, typer.Option("--allow-bad-rows", help="Leave bad rows out and count them.")] = False,
    out: Annotated[Path | None, typer.Option(help="Directory of the run. Default: runs/ and a name made from the configuration.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Fail unless --out holds a run. (One that is there is always gone on with.)")
    ] = False,
    min_accuracy: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Exit 3 below this accuracy.")] = None,
    max_p95_latency: Annotated[float | None, typer.Option(min=0.0, help="Exit 4 above this p95 latency, in seconds.")] = None,
    max_p95_ttft: Annotated[float | None, typer.Option(min=0.0, help="Exit 4 above this p95 time to first token, in seconds.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Ask a model the problems of a task, check the answers, and write results.jsonl and summary.json.

    With --strategy critique, --task is the directory of a graded run, and the model judges its responses.

    The same command goes on where an interrupted one stopped. Exit codes: 0 done, 2 nothing measured (a wrong option, file or model),
    3 below --min-accuracy, 4 above a latency limit, 5 too many infrastructure failures, 130 interrupted.
    """
    _refuse_loop_options(strategy, critic=critic, rounds=rounds, budget=budget, deadline=deadline)
    objective = None if slo is None else Slo.parse(slo)
    console = Console(stderr=True)
    if strategy is Strategy.CRITIQUE:
        loaded = labelled.responses_of(Path(task), limit)
    else:
        fields = Fields(problem_field, answer_field)
        loaded = tasks.load(task, data_dir=data_dir, fields=fields, limit=limit, allow_bad_rows=allow_bad_rows)
    _report_bad_rows(loaded, console)
    sampling = sampled(strategy, n, temperature, max_tokens=max_tokens or loaded.max_tokens, seed=seed)
    see_tokens = stream or max_p95_ttft is not None or (objective is not None and objective.needs_stream)
    plan = Plan(
        loaded,
        Server(base_url, api_key, Patience(timeout_s=timeout, retries=retries)),
        strategy,
        replace(sampling, rounds=rounds, budget=budget, deadline_s=deadline, extra=_extra(extra_body, strategy)),
        Pace(concurrency, rate, see_tokens),
        model=model,
        critic=critic,
        out=out,
        must_exist=resume,
        slo=objective,
    )
    try:
        measured = measure(plan, console)
    except KeyboardInterrupt:
        console.print("stopped; nothing that was answered is lost: the same command goes on from here")
        raise typer.Exit(Exit.INTERRUPTED) from None
    _print(measured, as_json=as_json)
    raise typer.Exit(_verdict(measured.summary, Thresholds(min_accuracy, max_p95_latency, max_p95_ttft), console))


def _refuse_loop_options(strategy: Strategy, **given: object) -> None:
    for name, value in given.items():
        if value is not None and strategy is not Strategy.LOOP:
            raise BadRequest(f"--{name} belongs to --strategy loop, and the strategy is {strategy}", param=name)


def _extra(text: str | None, strategy: Strategy) -> dict[str, Any] | None:
    """The fields of --extra-body. Raises BadRequest for what is no object, or names a field that has an option of its own."""
    if text is None:
        return None
    if strategy in (Strategy.LOOP, Strategy.CRITIQUE):
        raise BadRequest(f"--extra-body is for chats, and the strategy is {strategy}", param="extra_body")
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRequest(f"--extra-body: not JSON ({error.msg} at column {error.colno})", param="extra_body") from error
    if not isinstance(fields, dict):
        raise BadRequest(f"--extra-body: expected a JSON object, found {type(fields).__name__}", param="extra_body")
    own = fields.keys() & {"model", "messages", "n", "max_tokens", "temperature", "seed", "stream", "stream_options"}
    if own:
        raise BadRequest(f"--extra-body: {', '.join(sorted(own))} cannot be set there", param="extra_body")
    return fields


def _report_bad_rows(task: Task, console: Console) -> None:
    for reason in task.bad_rows:
        console.print(f"left out: {reason}", highlight=False, markup=False)


def _print(measured: Measured, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({**measured.summary, "directory": str(measured.directory)}, ensure_ascii=False) + "\n")
    else:
        show.summary(Console(), measured.summary, str(measured.directory))


def _verdict(value: dict[str, Any], limits: Thresholds, console: Console) -> Exit:
    """The exit code, said in words on standard error when it is not 0."""
    if summary.too_many_failures(value) or not value["complete"]:
        failed = f"{value['counts']['infrastructure_failures']} of {value['counts']['problems']} problems"
        console.print(f"{failed} got no answer from the infrastructure; the same command asks them again")
        for cause, message in value["failure_examples"].items():
            console.print(f"{cause}: {message}", highlight=False, markup=False)
        return Exit.INFRASTRUCTURE
    accuracy = value["accuracy"]
    if limits.min_accuracy is not None and (accuracy is None or accuracy["value"] < limits.min_accuracy):
        console.print(f"accuracy {words.interval(accuracy)} is below --min-accuracy {limits.min_accuracy:.1%}")
        return Exit.BELOW_ACCURACY
    for name, limit in (("e2e", limits.max_p95_latency_s), ("ttft", limits.max_p95_ttft_s)):
        seen = value["latency_s"][name]
        if limit is not None and (seen is None or seen["p95"] > limit):
            console.print(f"{name} {words.seconds(seen)} is above the limit of {limit:g} s for p95")
            return Exit.ABOVE_LATENCY
    return Exit.OK
