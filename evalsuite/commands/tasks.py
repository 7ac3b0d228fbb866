"""`evalsuite tasks`: the named tasks."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from evalsuite.tasks import listings


def tasks(as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False) -> None:
    """List the named tasks; --json also gives licences and token limits.

    Any .jsonl or .csv file with `problem` and `answer` columns is a task too.
    """
    if as_json:
        sys.stdout.write(json.dumps([asdict(listing) for listing in listings()], ensure_ascii=False) + "\n")
        return
    table = Table("task", "what", "source", box=None, padding=(0, 2, 0, 0))
    for listing in listings():
        table.add_row(listing.name, listing.about, listing.source)
    Console().print(table)
