"""`evalsuite run`: a task against an endpoint, from options to exit code."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console

from evalsuite import labelled, tasks, texts
from evalsuite.commands import options, show
from evalsuite.commands.exits import Exit
from evalsuite.commands.measure import Measured, Plan, Server, measure, sampled
from evalsuite.commands.seeds import parse as parse_seeds
from evalsuite.commands.seeds import run_each
from evalsuite.commands.seeds import sampled as unseeded
from evalsuite.commands.thresholds import Thresholds, verdict
from evalsuite.config import Strategy
from evalsuite.endpoint import Patience
from evalsuite.runner import Pace
from evalsuite.slo import Slo
from evalsuite.tasks import Fields, Task
from evalsuite.tasks.files import REFERENCE
from redraft.errors import BadRequest
from redraft.options import Asked


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
    seeds: options.Seeds = None,
    extra_body: options.ExtraBody = None,
    critic: Annotated[str | None, typer.Option(help="For loop: the adapter that critiques.")] = None,
    rounds: Annotated[int | None, typer.Option(min=0, help="For loop: rounds of critique and revision.")] = None,
    critique: Annotated[
        str | None, typer.Option(help="For loop: `always` asks critics without a calibration too; their word moves no vote.")
    ] = None,
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
    metric: options.Metric = None,
    reference_field: options.ReferenceField = None,
    num_fewshot: options.NumFewshot = None,
    fewshot_data: options.FewshotData = None,
    system: options.System = None,
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
    _refuse_loop_options(strategy, critic=critic, rounds=rounds, critique=critique, budget=budget, deadline=deadline)
    _refuse_prompt_options(strategy, num_fewshot=num_fewshot, fewshot_data=fewshot_data, system=system)
    several = None if seeds is None else parse_seeds(seeds, seed)
    metrics = _metrics(metric, reference_field, strategy)
    objective = None if slo is None else Slo.parse(slo)
    console = show.messages_console()
    if strategy is Strategy.CRITIQUE:
        loaded = labelled.responses_of(Path(task), limit)
    else:
        loaded = tasks.load(
            task,
            data_dir=data_dir,
            fields=Fields(problem_field, answer_field, reference=(reference_field or REFERENCE) if metrics else None),
            limit=limit,
            allow_bad_rows=allow_bad_rows,
            num_fewshot=num_fewshot,
            fewshot_data=fewshot_data,
        )
    _report_bad_rows(loaded, console)
    sampling = sampled(strategy, n, temperature, max_tokens=max_tokens or loaded.max_tokens, seed=seed)
    if several is not None:
        sampling = unseeded(sampling, strategy, temperature)
    see_tokens = stream or max_p95_ttft is not None or (objective is not None and objective.needs_stream)
    plan = Plan(
        loaded,
        Server(base_url, api_key, Patience(timeout_s=timeout, retries=retries)),
        strategy,
        replace(sampling, rounds=rounds, critique=critique, budget=budget, deadline_s=deadline, extra=_extra(extra_body, strategy)),
        Pace(concurrency, rate, see_tokens),
        model=model,
        critic=critic,
        out=out,
        must_exist=resume,
        slo=objective,
        system="" if metrics and system is None else system,
        metrics=metrics,
    )
    limits = Thresholds(min_accuracy, max_p95_latency, max_p95_ttft)
    try:
        if several is not None:
            raise typer.Exit(run_each(plan, several, limits, console, as_json=as_json))
        measured = measure(plan, console)
    except KeyboardInterrupt:
        console.print("stopped; nothing that was answered is lost: the same command goes on from here")
        raise typer.Exit(Exit.INTERRUPTED) from None
    _print(measured, as_json=as_json)
    raise typer.Exit(verdict(measured.summary, limits, console))


def _refuse_loop_options(strategy: Strategy, **given: object) -> None:
    for name, value in given.items():
        if value is not None and strategy is not Strategy.LOOP:
            raise BadRequest(f"--{name} belongs to --strategy loop, and the strategy is {strategy}", param=name)
    if given["critique"] not in (None, *get_args(Asked)):
        raise BadRequest(f"--critique: expected {' or '.join(get_args(Asked))}, found {given['critique']!r}", param="critique")


def _refuse_prompt_options(strategy: Strategy, **given: object) -> None:
    for name, value in given.items():
        if value is not None and strategy is Strategy.CRITIQUE:
            raise BadRequest(
                f"--{name.replace('_', '-')} does not go with --strategy critique, whose prompt is the critic's own", param=name
            )
    if strategy is Strategy.LOOP and given["system"] == "":
        raise BadRequest("--system: a loop has a system message always; give another one", param="system")


def _metrics(text: str | None, reference_field: str | None, strategy: Strategy) -> tuple[str, ...]:
    """The text metrics of --metric. Raises BadRequest where they would have several responses to choose from."""
    if text is None:
        if reference_field is not None:
            raise BadRequest("--reference-field needs --metric", param="reference_field")
        return ()
    if strategy is not Strategy.DIRECT:
        raise BadRequest(f"--metric scores each response as it is, with --strategy direct; the strategy is {strategy}", param="metric")
    return texts.parse(text)


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
        show.summary(show.results_console(), measured.summary, str(measured.directory))
