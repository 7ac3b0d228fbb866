"""`trainer run`: all stages together, from one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainer.running.pipeline import Done, State, states
from trainer.running.pipeline import run as run_all
from trainer.running.plan import FIT, Plan, load

INTERRUPTED = 130


def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file with a section for each stage; docs/trainer.md has them.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Fields to set, as section.field=value; select.right=0.4.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and what there is of it; do nothing.")] = False,
    redo: Annotated[
        bool, typer.Option("--redo", help="Remove rows that were made from other settings or data, and make them again.")
    ] = False,
) -> None:
    """Run all stages that CONFIG has a section for. Done stages are not repeated; a run that was cut off goes on."""
    plan = load(config, overrides or ())
    console = Console(stderr=True)
    if dry_run:
        Console().print(planned(plan, states(plan)))
        return
    try:
        done = run_all(plan, console, redo=redo)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    console.print(table(done))
    last = next((entry.step.output for entry in reversed(done) if entry.step.name == FIT), done[-1].step.output)
    typer.echo(str(last))


def planned(plan: Plan, found: list[State]) -> Table:
    """The steps and where their files go."""
    shown = Table("stage", "settings", "in", "out", "state")
    for step, state in zip(plan.steps, found, strict=True):
        given = step.settings.model_dump(mode="json", exclude_defaults=True, exclude={"data", "eval_data", "output"})
        said = "\n".join(f"{name}: {value}" for name, value in given.items())
        output = "" if step.output is None else step.output.name
        shown.add_row(step.name, said, "\n".join(path.name for path in step.inputs), output, state.value)
    return shown


def table(done: list[Done]) -> Table:
    """What every stage took and gave."""
    shown = Table("stage", "rows in", "rows out", "seconds", "result")
    for entry in done:
        mark = entry.mark
        counts = ("" if count is None else str(count) for count in (mark.rows_in, mark.rows_out))
        shown.add_row(entry.step.name, *counts, f"{mark.seconds:.1f}" if entry.fresh else "before", mark.note)
    return shown
