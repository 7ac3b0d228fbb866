"""`redraft model pull`: build the default model into the cache."""

from __future__ import annotations

import time

import typer
from rich.console import Console

from redraft import home

app = typer.Typer(help="The embedded default model.", no_args_is_help=True)


@app.command()
def pull() -> None:
    """Build SmolLM2-135M-Instruct into the cache (REDRAFT_HOME), unless it is there and whole."""
    from server.model import ensure_default_model

    console = Console(stderr=True)
    started = time.monotonic()
    with console.status("default model") as status:

        def say(line: str) -> None:
            status.update(line)
            console.print(f"  {line}", highlight=False)

        path = ensure_default_model(say)
    console.print(f"ready in {time.monotonic() - started:.0f} s", highlight=False)
    print(path)


@app.command()
def path() -> None:
    """Print where the default model is, or why it cannot be used (exit 1)."""
    directory = home.default_model_dir()
    flaw = home.flaw(directory)
    if flaw is not None:
        Console(stderr=True).print(f"{directory}: {flaw.reason}; run `redraft model pull`", highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    print(directory)
