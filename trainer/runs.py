"""Whose files are these: a stage marks what it writes with the hash of what it was made from, so that only the same run goes on with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from redraft import records
from trainer.errors import BadRun


def claim(mark: Path, run: str) -> None:
    """Write `mark` for this run, or refuse if it is another run's."""
    if not mark.is_file():
        records.write_atomic(mark, json.dumps({"run_sha256": run}))
    elif json.loads(mark.read_text(encoding="utf-8")).get("run_sha256") != run:
        raise BadRun(f"{mark.parent}: {mark.name} says that the files here are another run's; remove them or choose another output")


def claim_output(output: Path, run: str) -> None:
    """Claim a log file, by a mark that lies beside it."""
    mark = output.with_name(output.name + ".run")
    if output.exists() and not mark.exists():
        raise BadRun(f"{output}: exists, and no run of this trainer left its mark beside it; choose another output")
    claim(mark, run)


def done(paths: Iterable[Path]) -> set[str]:
    """The ids that are in any of these logs. A torn last line does not count: the log drops it when it is opened."""
    found: set[str] = set()
    for path in paths:
        with records.Log(path):
            found.update(str(record["id"]) for _, record in records.read(path))
    return found
