"""`trainer evaluate`: how well does an adapter judge, before it is served?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.commands.options import Limit, Seed
from trainer.errors import BadConfig


def evaluate(
    adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="A folder that `trainer fit` made.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="JSON; `trainer publish --evaluation` takes it.")],
    responses: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="JSONL of labelled responses to judge.")] = None,
    task: Annotated[str | None, typer.Option(help="Instead: a task; its solutions and their wrong twins are judged.")] = None,
    limit: Limit = None,
    seed: Seed = 0,
    base: Annotated[bool, typer.Option(help="Measure the base model too.")] = True,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one critique.")] = 256,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
) -> None:
    """Let an adapter judge labelled responses in this process, without a server; prints its rates as JSON."""
    if (responses is None) == (task is None):
        raise BadConfig("expected either --responses or --task", param="responses")
    from trainer.stages.evaluate import evaluate as run
    from trainer.stages.evaluate import made_responses

    console = Console(stderr=True)
    judged = responses or made_responses(str(task), output, limit=limit, seed=seed, console=console)
    found = run(adapter, judged, output, base=base, max_tokens=max_tokens, batch_size=batch_size, console=console)
    typer.echo(json.dumps({side: found[side] for side in ("critic", "base") if side in found}))
