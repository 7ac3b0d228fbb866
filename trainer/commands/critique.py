"""`trainer critique`: by the symbolic teacher, or by a model behind any OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from redraft import home, records
from trainer.commands.options import AllowFailed, Output, Seed, Source, complete, tell
from trainer.errors import BadConfig
from trainer.teachers.asking import Form
from trainer.teachers.symbolic import Approach
from trainer.teachers.wordings import Wording

if TYPE_CHECKING:
    from trainer.teachers.model_teacher import ModelTeacher


def critique(
    source: Source,
    output: Output,
    seed: Seed = 0,
    samples: Annotated[int, typer.Option(min=1, help="Critiques per response.")] = 1,
    wording: Annotated[Wording, typer.Option(help="How the symbolic teacher words what it found.")] = Wording.VARIED,
    approach: Annotated[
        Approach, typer.Option(help="What the symbolic teacher does first: judge each step, or solve the problem.")
    ] = Approach.STEPWISE,
    teacher_url: Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint; without it the symbolic teacher judges.")] = None,
    teacher_model: Annotated[str | None, typer.Option(help="The model to ask there.")] = None,
    api_key_env: Annotated[str | None, typer.Option(metavar="VAR", help="The environment variable that holds the endpoint's key.")] = None,
    form: Annotated[Form, typer.Option(help="Each step judged, or a short free judgement as in the CFT paper.")] = Form.STRUCTURED,
    temperature: Annotated[float, typer.Option(min=0)] = 0.3,
    top_p: Annotated[float | None, typer.Option(min=0, max=1, help="Sent only if given; the paper has 0.95.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 3200,
    extra: Annotated[
        str | None,
        typer.Option(metavar="JSON", help='Fields to add to each request; null takes one out. {"max_completion_tokens": 4000, ...}'),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Requests a minute at most.")] = None,
    retries: Annotated[int, typer.Option(min=0, help="How often a request that failed is tried again in this run.")] = 5,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one reply.")] = 300.0,
    price_in: Annotated[float | None, typer.Option(min=0, help="Price of a million prompt tokens.")] = None,
    price_out: Annotated[float | None, typer.Option(min=0, help="Price of a million completion tokens.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where paid replies are kept.  [default: replies, in Redraft's cache]")] = None,
    allow_failed: AllowFailed = False,
) -> None:
    """Let a teacher critique responses; what it cannot judge is said so.

    A model's replies are kept by the hash of what was asked: a run that is repeated pays nothing. What was spent goes to OUT's
    neighbour `.spent.json`.
    """
    from trainer.data import tables

    console = Console(stderr=True)
    rows = tables.place(source)
    if teacher_url is None:
        if teacher_model or api_key_env:
            raise BadConfig("--teacher-model and --api-key-env need --teacher-url", param="teacher_url")
        from trainer.checking import MathChecker
        from trainer.stages.critique import critique as run

        counts = run(rows, output, MathChecker(), seed=seed, samples=samples, wording=wording, approach=approach, console=console)
        tell(console, counts, output)
        return

    from trainer.stages.consult import consult
    from trainer.teachers.endpoint import Endpoint, Patience
    from trainer.teachers.model_teacher import Manner, ModelTeacher, Spent
    from trainer.teachers.pace import Pace
    from trainer.teachers.replies import Replies

    if not teacher_model:
        raise BadConfig("--teacher-url needs --teacher-model", param="teacher_model")
    manner = Manner(teacher_model, form, temperature, top_p, max_tokens, seed, _object(extra))
    key = _key(api_key_env)

    async def go(url: str, replies: Replies) -> Counter[str]:
        async with Endpoint(url, api_key=key, timeout_s=timeout, pace=Pace(rate), patience=Patience(retries)) as endpoint:
            teacher = ModelTeacher(endpoint, manner, replies, Spent(price_in, price_out))
            try:
                return await consult(rows, output, teacher, samples=samples, concurrency=concurrency, console=console)
            finally:
                if endpoint.sent or teacher.cached:
                    _report(console, teacher, output)

    with Replies(cache or home.home() / "replies") as replies:
        counts = asyncio.run(go(teacher_url, replies))
    complete(counts, output, allow_failed=allow_failed)
    tell(console, counts, output)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise BadConfig(f"--api-key-env: the environment has no variable {variable}", param="api_key_env")
    return key


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise BadConfig(f"--extra: not JSON ({error.msg} at column {error.colno})", param="extra") from error
    if not isinstance(value, dict):
        raise BadConfig(f"--extra: expected an object, found {type(value).__name__}", param="extra")
    return value


def _report(console: Console, teacher: ModelTeacher, output: Path) -> None:
    """What this run paid, and what all replies in `output` cost, whichever run paid for them."""
    from trainer.stages.consult import spent_on
    from trainer.teachers.model_teacher import Spent

    paid, sent = teacher.spent, teacher.endpoint.sent
    whole = spent_on(output, Spent(paid.price_in, paid.price_out))
    told = {"this_run": {"requests": sent, "cached": teacher.cached, **paid.json()}, "output": whole.json()}
    records.write_atomic(output.with_name(f"{output.stem}.spent.json"), json.dumps(told, indent=1) + "\n")
    console.print(f"this run: {sent} requests, {paid}; {teacher.cached} from the cache", highlight=False)
    console.print(f"all of {output.name}: {whole}", highlight=False)
