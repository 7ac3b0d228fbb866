"""`evalsuite report DIR...`: one HTML page about runs of one task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from redraft import assets
from redraft.records import write_atomic


def report(
    directories: Annotated[list[Path], typer.Argument(help="Directories of runs of one task; two are also compared.")],
    katex: Annotated[Path | None, typer.Option(help="The dist folder of another katex package than the set-up's.")] = None,
    out: Annotated[Path | None, typer.Option(help="The page. Default: report.html in the first directory.")] = None,
) -> None:
    """Write one self-contained HTML page: headline table, charts, and every problem with its responses. It needs no network."""
    from evalsuite.report import build, inlined, installed

    path = out or directories[0] / "report.html"
    setter = installed() if katex is None else inlined(katex)
    write_atomic(path, build(directories, setter))
    unset = "" if setter else f"; mathematics is shown as it was written, since KaTeX is not there: {assets.HOW}"
    Console(highlight=False, soft_wrap=True).print(f"{path} ({path.stat().st_size / 1024:.0f} KB){unset}")
