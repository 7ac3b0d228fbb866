"""The `trainer` command. Imports no library that trains until a stage needs it."""

from __future__ import annotations

import os
import sys

import typer

from redraft.errors import RedraftError
from trainer.commands import data, evaluate, publish, train
from trainer.running.command import run

app = typer.Typer(help="Verified critiques in, a better critic out.", no_args_is_help=True, add_completion=False, rich_markup_mode=None)
STAGES = (data.sample, data.solutions, data.inject, data.critique, data.verify, data.select, train.preview, train.fit)
for command in (*STAGES, evaluate.evaluate, publish.publish, run):
    app.command()(command)


def main() -> None:
    """Run the command; an error that a person can mend is one line, and exit status 2."""
    # Two engines on one CPU: threads that wait for each other must sleep, not spin. Read when torch is imported; what is set stays.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app()
    except RedraftError as error:
        print(f"trainer: {error.message}", file=sys.stderr)
        raise SystemExit(2) from None
