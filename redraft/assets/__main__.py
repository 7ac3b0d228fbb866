"""`python -m redraft.assets [--optional]`: bring the web's libraries, or say in one line why they are not there."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from redraft.assets.install import NotInstalled, install


def main(
    optional: Annotated[bool, typer.Option("--optional", help="End well also when they could not be brought, having said so.")] = False,
) -> None:
    """Bring the libraries of the playground, the API docs page and the reports from npm, by the lock. Does nothing when they are there."""
    try:
        install(lambda line: print(f"-- {line}", flush=True))
    except NotInstalled as error:
        print(f"-- no web libraries: {error.message}", file=sys.stderr, flush=True)
        raise typer.Exit(0 if optional else 1) from error


if __name__ == "__main__":
    typer.run(main)
