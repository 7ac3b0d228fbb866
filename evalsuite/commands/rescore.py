"""`evalsuite rescore DIR`: check a run's saved responses again."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from evalsuite import texts
from evalsuite.commands import options, show
from evalsuite.commands.measure import write_summary
from evalsuite.grade import MathChecker
from evalsuite.rescore import rescore as rescore_run


def rescore(
    directory: Annotated[Path, typer.Argument(help="Directory of a run.")],
    metric: options.Metric = None,
    as_json: options.AsJson = False,
) -> None:
    """Check the saved responses of a run again, as when the checker has changed, and write its summary anew."""
    metrics = () if metric is None else texts.parse(metric)
    rescored = asyncio.run(rescore_run(directory, MathChecker(), metrics))
    write_summary(directory, rescored.summary)
    if as_json:
        sys.stdout.write(json.dumps({"changes": rescored.changes, "summary": rescored.summary}, ensure_ascii=False) + "\n")
        return
    console = show.results_console()
    show.summary(console, rescored.summary, str(directory))
    console.print("changes: " + (", ".join(f"{count} {change}" for change, count in sorted(rescored.changes.items())) or "none"))
