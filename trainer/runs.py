"""Whose files are these, and what in them is done: a stage marks what it writes with the hash of what it was made from.

Only the same run goes on with it. A record that failed for a reason that may pass has `retry`; the next run tries it again, in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from redraft import records
from redraft.records import Record
from trainer.errors import BadRun

RETRY = "retry"


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


class Earlier:
    """What an earlier run of a stage had before some of it failed. Until the stage is whole it lies beside the output.

    Where records are to be tried again the output is begun anew, so that it comes to stand in order; what was had is copied, not redone.
    """

    def __init__(self, output: Path) -> None:
        self.aside = output.with_name(f"{output.stem}.earlier{output.suffix}")
        with records.Log(output):
            written = [record for _, record in records.read(output)]
        if any(record.get(RETRY) for record in written):
            had = [*self._read(), *(record for record in written if not record.get(RETRY))]
            records.write_atomic(self.aside, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in had))
            records.write_atomic(output, "")
        self._had = {str(record["id"]): record for record in self._read()}

    def get(self, name: str) -> Record | None:
        return self._had.get(name)

    def finish(self) -> None:
        """Say that the output holds everything."""
        self.aside.unlink(missing_ok=True)

    def _read(self) -> list[Record]:
        return [record for _, record in records.read(self.aside)] if self.aside.is_file() else []
