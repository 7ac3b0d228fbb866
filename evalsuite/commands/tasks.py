"""`evalsuite tasks`: the named tasks."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from evalsuite.commands import show
from evalsuite.tasks import listings


def tasks(as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False) -> None:
    """List the named tasks; --json also gives revisions, licences, prompts, token limits and few-shot defaults.

    Any .jsonl, .csv or .parquet file with `problem` and `answer` columns is a task too.
    """
    if as_json:
        sys.stdout.write(json.dumps([asdict(listing) for listing in listings()], ensure_ascii=False) + "\n")
        return
    table = Table("task", "what", "source", box=None, padding=(0, 2, 0, 0))
    for listing in listings():
        table.add_row(listing.name, listing.about, listing.source.partition("@")[0])
    show.results_console().print(table)
