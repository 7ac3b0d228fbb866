"""The named tasks, and how a name, a file or a hub id becomes a `Task`. Downloads only what is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evalsuite.tasks import arith, borrowed, fewshot, files, gym, hub
from evalsuite.tasks.files import Fields, Raw, Rows
from evalsuite.tasks.hub import DEFAULT_MAX_TOKENS, HUB, TRAIN, HubTask
from evalsuite.tasks.types import Problem, Task, fingerprint
from redraft.errors import BadRequest
from redraft.prompts import SOLVE_SYSTEM

GENERATED_ROWS = 200
GENERATED_SHOTS = 100
EASY_TOKENS = 512
EASY = (*arith.FAMILIES, "redraft-gym", "redraft-gym-train")
"""Generated tasks whose answers need few words."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of `evalsuite tasks`."""

    name: str
    about: str
    source: str
    licence: str
    max_tokens: int
    answer_field: str = "answer"
    system: str = SOLVE_SYSTEM
    num_fewshot: int = 0
    """Examples that a run gives unless it says otherwise."""
    base_fewshot: int = 0
    """How many the field gives to base models."""


@dataclass(frozen=True, slots=True)
class Source:
    """How to read what a task is made of."""

    data_dir: Path | None
    fields: Fields
    allow_bad_rows: bool


def listings() -> list[Listing]:
    """All named tasks, those that need no network first."""
    made = [
        Listing("redraft-arith", "one- and two-step word problems, own templates", "built in", "Apache-2.0", EASY_TOKENS),
        Listing("redraft-arith-hard", "three- and four-step word problems, own templates", "built in", "Apache-2.0", EASY_TOKENS),
        Listing(
            "redraft-arith-train", "the same as redraft-arith, and none of its problems: to train on", "built in", "Apache-2.0", EASY_TOKENS
        ),
        Listing(
            "redraft-arith-hard-train", "the same as redraft-arith-hard, and none of its problems", "built in", "Apache-2.0", EASY_TOKENS
        ),
        _borrowed("redraft-gym", "sums, products, divisors, equations and legs in turn, easy"),
        _borrowed("redraft-gym-hard", "word problems, expressions, equations, bases and dice in turn, harder"),
        _borrowed("redraft-gym-train", "the same as redraft-gym, and none of its problems: to train on"),
        _borrowed("redraft-gym-hard-train", "the same as redraft-gym-hard, and none of its problems"),
        *(_borrowed(f"{gym.PREFIX}{family.name}", family.about) for family in gym.FAMILIES.values()),
    ]
    pinned = [
        Listing(
            t.name, t.about, f"{t.repo}@{t.revision}", t.licence, t.max_tokens, t.fields.answer, t.system, t.num_fewshot, t.base_fewshot
        )
        for t in HUB.values()
    ]
    return made + pinned


def _borrowed(name: str, about: str) -> Listing:
    return Listing(name, about, f"{borrowed.DISTRIBUTION}@{borrowed.TESTED}", "Apache-2.0", _generated_tokens(name))


def load(
    spec: str,
    *,
    data_dir: Path | None = None,
    fields: Fields | None = None,
    limit: int | None = None,
    allow_bad_rows: bool = False,
    num_fewshot: int | None = None,
    fewshot_data: Path | None = None,
) -> Task:
    """The task that `spec` names: a generated one (`redraft-arith[@SEED]`), a catalogued name, a file, or `hub:OWNER/NAME?...`.

    Few-shot examples come from `fewshot_data`, else from the task's train split; the default number of them is the task's.
    """
    source = Source(data_dir, fields or Fields(), allow_bad_rows)
    family, _, seed = spec.partition("@")
    if family in arith.FAMILIES or gym.makes(family):
        task = _generated(family, seed, limit)
    elif spec in HUB:
        task = _catalogued(HUB[spec], source)
    elif spec.startswith(hub.PREFIX):
        task = _catalogued(hub.pinned(spec, source.fields), source)
    elif Path(spec).suffix in files.SUFFIXES:
        rows = files.read(Path(spec), source.fields, allow_bad_rows=allow_bad_rows)
        task = _task(Path(spec).stem, rows, spec)
    else:
        raise _unknown(spec)
    default = HUB[spec].num_fewshot if spec in HUB else 0
    task = _with_shots(task, default if num_fewshot is None else num_fewshot, fewshot_data, source)
    return replace(task, problems=task.problems[:limit])


def _unknown(spec: str) -> BadRequest:
    """Names the tasks there are, those of single families as one, and the one that may have been meant."""
    known = [listing.name for listing in listings()]
    alike = difflib.get_close_matches(spec.partition("@")[0].lower(), known, n=1)
    meant = f"; did you mean {alike[0]}?" if alike else ""
    short = ", ".join([*(name for name in known if not name.startswith(gym.PREFIX)), f"{gym.PREFIX}FAMILY"])
    return BadRequest(
        f"task {spec!r} is neither a .jsonl, .csv or .parquet file, nor hub:OWNER/NAME?revision=SHA, nor one of {short}{meant}",
        param="task",
    )


def _generated(family: str, seed_text: str, limit: int | None) -> Task:
    if seed_text and not seed_text.isdecimal():
        raise BadRequest(f"task {family}@{seed_text}: the seed must be a whole number", param="task")
    seed = int(seed_text or 0)
    problems = _made(family, seed, GENERATED_ROWS if limit is None else limit)
    if gym.makes(family):
        identity, source = gym.identity(family, seed), f"{borrowed.DISTRIBUTION} {borrowed.version()}"
    else:
        identity, source = f"{family}-v{arith.VERSION}-seed{seed}", "built in"
    return Task(f"{family}@{seed}", problems, identity, _generated_tokens(family), source)


def _made(family: str, seed: int, count: int) -> tuple[Problem, ...]:
    return gym.generate(family, seed, count) if gym.makes(family) else arith.generate(family, seed, count)


def _generated_tokens(family: str) -> int:
    return EASY_TOKENS if family in EASY else DEFAULT_MAX_TOKENS


def _catalogued(entry: HubTask, source: Source) -> Task:
    rows, where = _hub_rows(entry, source)
    return replace(_task(entry.name, rows, where, entry.max_tokens), system=entry.system)


def _task(name: str, rows: Rows, source: str, max_tokens: int = DEFAULT_MAX_TOKENS) -> Task:
    return Task(name, rows.problems, fingerprint(rows.problems), max_tokens, source, rows.bad)


def _hub_rows(entry: HubTask, source: Source) -> tuple[Rows, str]:
    """The rows of a data set and where they came from: a file of `--data-dir`, a copy of the data set there, or the hub."""
    folder = source.data_dir if entry.local else None
    if folder is not None and not folder.is_dir():
        raise BadRequest(f"--data-dir {folder}: no such directory", param="data_dir")
    for suffix in files.SUFFIXES:
        path = None if folder is None else (folder / entry.local).with_suffix(suffix)
        if path is not None and path.is_file():
            return _local_rows(entry, path, source), str(path)
    copy = None if folder is None else folder / entry.repo
    copy = copy if copy is not None and copy.is_dir() else None
    where = f"{entry.repo}@{entry.revision}" if copy is None else str(copy)
    fields = hub.fields_of(entry, source.fields.reference)
    return files.collect(hub.rows(entry, copy), where, entry.name, fields, allow_bad_rows=source.allow_bad_rows), where


def _local_rows(entry: HubTask, path: Path, source: Source) -> Rows:
    """A file that stands for a data set: its rows have plain columns, `problem` and `answer`, or those of the data set."""
    raw = list(files.raw_rows(path))
    plain = Fields(reference=source.fields.reference)
    if any(_is_plain(row, plain) for _, row in raw):
        return files.collect(iter(raw), str(path), path.stem, plain, allow_bad_rows=source.allow_bad_rows)
    fields = hub.fields_of(entry, source.fields.reference)
    return files.collect(_in_terms_of(entry, raw), str(path), entry.name, fields, allow_bad_rows=source.allow_bad_rows)


def _is_plain(row: Mapping[str, object] | str, plain: Fields) -> bool:
    return not isinstance(row, str) and plain.problem in row and plain.answer in row


def _in_terms_of(entry: HubTask, raw: list[Raw]) -> Iterator[Raw]:
    for number, row in raw:
        usable = not isinstance(row, str) and entry.fields.answer in row
        yield number, hub.in_terms_of(entry, row) if usable and not isinstance(row, str) else row


def _with_shots(task: Task, n: int, data: Path | None, source: Source) -> Task:
    if n == 0:
        if data is not None:
            raise BadRequest("--fewshot-data needs --num-fewshot, which is 0", param="fewshot_data")
        return task
    pool, where = _pool(task, data, source)
    return replace(task, shots=fewshot.draw(n, pool, task.problems, name=task.name, source=where), shots_source=where)


def _pool(task: Task, data: Path | None, source: Source) -> tuple[tuple[Problem, ...], str]:
    """The problems that examples may be drawn from, and where they are."""
    if data is not None:
        return files.read(data, source.fields).problems, str(data)
    if task.name in TRAIN:
        rows, where = _hub_rows(TRAIN[task.name], source)
        return rows.problems, f"train split, {where}"
    family, _, seed = task.name.partition("@")
    if family in arith.TEMPLATES or (gym.makes(family) and not family.endswith(gym.TRAIN)):
        train = f"{family}{arith.TRAIN}"
        return _made(train, int(seed), GENERATED_SHOTS), f"{train}@{seed}"
    raise BadRequest(f"task {task.name!r} has no train split: name a file of solved problems with --fewshot-data", param="num_fewshot")
