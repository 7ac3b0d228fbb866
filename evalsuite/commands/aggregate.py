"""`evalsuite aggregate DIR...`: runs that differ in their seed alone, as one result."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from evalsuite import store
from evalsuite.aggregate import aggregate as aggregate_runs
from evalsuite.aggregate import load
from evalsuite.commands import options, show
from evalsuite.commands.seeds import FOLDER


def aggregate(
    directories: Annotated[list[Path], typer.Argument(help="Directories of runs, or the one that `evalsuite run --seeds` wrote.")],
    as_json: options.AsJson = False,
) -> None:
    """Take runs together that differ in their seed alone: mean accuracy, deviation over seeds, interval by problem, tokens, latency."""
    value = aggregate_runs([load(directory) for directory in _each(directories)])
    if as_json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    else:
        show.over_seeds(show.results_console(), value)


def _each(directories: list[Path]) -> list[Path]:
    """The directories of runs; one that is none itself stands for the runs of `--seeds` in it."""
    found: list[Path] = []
    for directory in directories:
        inside = [] if (directory / store.CONFIG).is_file() else sorted(directory.glob(f"{FOLDER}*/{store.CONFIG}"))
        found += [path.parent for path in inside] or [directory]
    return found
