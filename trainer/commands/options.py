"""Options that more than one data stage has, and what the stages tell a person."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from redraft.errors import EngineUnavailable
from trainer.errors import BadConfig
from trainer.runs import RETRY

Task = Annotated[str, typer.Argument(metavar="TASK", help="A task of evalsuite (redraft-arith@SEED, gsm8k, ...) or a .jsonl or .csv file.")]
Source = Annotated[str, typer.Argument(metavar="IN", help="A .jsonl, .json or .parquet file, or hub:OWNER/NAME?revision=SHA&split=train.")]
Output = Annotated[Path, typer.Argument(metavar="OUT", help="JSONL; a run that was cut off goes on with it.")]
Seed = Annotated[int, typer.Option(min=0, help="Everything that is drawn follows from it.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first problems.")]
Right = Annotated[float | None, typer.Option(min=0, max=1, help="The share of rows that are right.")]
AllowFailed = Annotated[
    bool, typer.Option("--allow-failed", help="Exit with status 0 though requests failed that the next run would retry.")
]


def floats(text: str, option: str) -> tuple[float, ...]:
    """Numbers with commas between them, each once."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadConfig(f"--{option}: {text!r}: expected numbers separated by commas", param=option) from None
    if len(set(values)) != len(values):
        raise BadConfig(f"--{option}: {text!r}: expected each once", param=option)
    return values


def tell(console: Console, counts: Counter[str], output: Path) -> None:
    """The counts to the person, the path to standard output."""
    said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if name != RETRY)
    console.print(said, f"in {output}", highlight=False)
    typer.echo(str(output))


def complete(counts: Counter[str], output: Path, *, allow_failed: bool) -> None:
    """Refuse to call a stage done whose failures may pass: it exits with an error, and is gone on with by the same command."""
    if counts[RETRY] and not allow_failed:
        raise EngineUnavailable(
            f"{output}: {counts[RETRY]} requests failed (each record has the cause); run the same again to try only those, "
            "or say --allow-failed to go on without them"
        )
