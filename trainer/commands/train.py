"""`trainer fit` and `trainer preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.config import load

Config = Annotated[Path, typer.Argument(help="A YAML file; docs/trainer.md has its fields.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Fields to set, as key=value; lora.rank=32 sets rank in lora.")]


def fit(
    config: Config,
    overrides: Overrides = None,
    report_to: Annotated[list[str] | None, typer.Option(help="tensorboard, wandb, mlflow or trackio; may be given several times.")] = None,
) -> None:
    """Train an adapter (or with lora=null all weights). Goes on from the last checkpoint of the same run; prints the folder."""
    reporters = [f"report_to=[{', '.join(report_to)}]"] if report_to else []
    settings = load(config, [*(overrides or ()), *reporters])
    from trainer.fitting.fit import fit as run

    console = Console(stderr=True)
    fitted = run(settings, console)
    if not fitted.fresh:
        console.print(f"{fitted.path} was made by this very run already")
    typer.echo(str(fitted.path))


def preview(
    config: Config,
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="Examples to print.")] = 3,
) -> None:
    """Print rendered examples with the trained tokens in colour, and the lengths of all."""
    settings = load(config, overrides or ())
    from trainer.fitting.preview import preview as show

    show(settings, Console(), count)
