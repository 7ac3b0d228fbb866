"""`evalsuite export DIR`: a run in another tool's form."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evalsuite.export import load


class Format(StrEnum):
    LM_EVAL = "lm-eval"
    INSPECT = "inspect"
    PARQUET = "parquet"
    PROMETHEUS = "prometheus"


def export(
    directory: Annotated[Path, typer.Argument(help="Directory of a run.")],
    form: Annotated[Format, typer.Option("--format", help="Whose form.")],
    out: Annotated[Path | None, typer.Option(help="Where to write. Default: a folder with the form's name in the run's directory.")] = None,
) -> None:
    """Write a run so that lm-eval's or Inspect's viewers, a data frame, or Prometheus can read it."""
    from evalsuite.export import inspect_log, lm_eval, parquet, prometheus

    writers = {
        Format.LM_EVAL: lm_eval.write,
        Format.INSPECT: inspect_log.write,
        Format.PARQUET: parquet.write,
        Format.PROMETHEUS: prometheus.write,
    }
    console = Console(highlight=False, soft_wrap=True)
    for path in writers[form](load(directory), out or directory / str(form)):
        console.print(str(path))
