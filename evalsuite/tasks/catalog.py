"""The named tasks, and how a name, a file or a hub id becomes a `Task`. Downloads only what is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evalsuite.tasks import arith, files, hub
from evalsuite.tasks.files import Fields
from evalsuite.tasks.hub import DEFAULT_MAX_TOKENS, HUB, HubTask
from evalsuite.tasks.types import Task, fingerprint
from redraft.errors import BadRequest

GENERATED_ROWS = 200


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of `evalsuite tasks`."""

    name: str
    about: str
    source: str
    licence: str
    max_tokens: int


def listings() -> list[Listing]:
    """All named tasks, those that need no network first."""
    made = [
        Listing("redraft-arith", "one- and two-step word problems, generated from a seed", "built in", "Apache-2.0", 512),
        Listing("redraft-arith-hard", "three- and four-step word problems, generated from a seed", "built in", "Apache-2.0", 512),
        Listing("redraft-arith-train", "the same as redraft-arith, and none of its problems: to train on", "built in", "Apache-2.0", 512),
        Listing("redraft-arith-hard-train", "the same as redraft-arith-hard, and none of its problems", "built in", "Apache-2.0", 512),
    ]
    pinned = [Listing(t.name, t.about, f"{t.repo}@{t.revision[:8]}", t.licence, t.max_tokens) for t in HUB.values()]
    return made + pinned


def load(
    spec: str,
    *,
    data_dir: Path | None = None,
    fields: Fields | None = None,
    limit: int | None = None,
    allow_bad_rows: bool = False,
) -> Task:
    """The task that `spec` names: `redraft-arith[@SEED]`, a catalogued name, a `.jsonl` or `.csv` file, or `hub:OWNER/NAME?...`."""
    family, _, seed = spec.partition("@")
    if family in arith.FAMILIES:
        return _generated(family, seed, limit)
    if spec in HUB:
        task = _catalogued(HUB[spec], data_dir, allow_bad_rows)
    elif spec.startswith(hub.PREFIX):
        task = _catalogued(hub.pinned(spec, fields or Fields()), None, allow_bad_rows)
    elif Path(spec).suffix in (".jsonl", ".csv"):
        task = _file(Path(spec), Path(spec).stem, fields or Fields(), DEFAULT_MAX_TOKENS, allow_bad_rows)
    else:
        known = ", ".join(listing.name for listing in listings())
        raise BadRequest(
            f"task {spec!r} is neither a .jsonl or .csv file, nor hub:OWNER/NAME?revision=SHA, nor one of {known}", param="task"
        )
    return _limited(task, limit)


def _generated(family: str, seed_text: str, limit: int | None) -> Task:
    if seed_text and not seed_text.isdecimal():
        raise BadRequest(f"task {family}@{seed_text}: the seed must be a whole number", param="task")
    seed = int(seed_text or 0)
    problems = arith.generate(family, seed, GENERATED_ROWS if limit is None else limit)
    return Task(f"{family}@{seed}", problems, f"{family}-v{arith.VERSION}-seed{seed}", 512, "built in")


def _catalogued(entry: HubTask, data_dir: Path | None, allow_bad_rows: bool) -> Task:
    local = None if data_dir is None else data_dir / entry.local
    if local is not None and local.is_file():
        return _file(local, entry.name, Fields(), entry.max_tokens, allow_bad_rows)
    source = f"{entry.repo}@{entry.revision}"
    rows = files.collect(hub.rows(entry), source, entry.name, entry.fields, allow_bad_rows=allow_bad_rows)
    return Task(entry.name, rows.problems, fingerprint(rows.problems), entry.max_tokens, source, rows.bad)


def _file(path: Path, name: str, fields: Fields, max_tokens: int, allow_bad_rows: bool) -> Task:
    rows = files.read(path, fields, allow_bad_rows=allow_bad_rows)
    return Task(name, rows.problems, fingerprint(rows.problems), max_tokens, str(path), rows.bad)


def _limited(task: Task, limit: int | None) -> Task:
    problems = task.problems if limit is None else task.problems[:limit]
    return Task(task.name, problems, task.fingerprint, task.max_tokens, task.source, task.bad_rows)
