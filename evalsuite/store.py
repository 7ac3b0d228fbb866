"""A run's directory: `run.json` (the resolved configuration), `results.jsonl` (append-only records), `summary.json`.

Four kinds of record: `sample` (a reply, as it came), `grade` (its judgement; the last one for a key counts), `text` (its scores by text
metrics, the same) and `failure` (a problem that the infrastructure did not answer; a later sample for the key supersedes it). A sample is
written before it is graded, so that a kill loses no reply, and one without a grade is graded on resume.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.config import RunConfig, differences
from redraft.errors import BadRequest
from redraft.records import Log, Record, read, write_atomic

SCHEMA = 1
KINDS = ("sample", "grade", "text", "failure")
CONFIG, RESULTS, SUMMARY, LOCK = "run.json", "results.jsonl", "summary.json", ".lock"


@dataclass(slots=True)
class Results:
    """What `results.jsonl` says, the last word for each key."""

    samples: dict[str, Record] = field(default_factory=dict)
    grades: dict[str, Record] = field(default_factory=dict)
    failures: dict[str, Record] = field(default_factory=dict)
    texts: dict[str, Record] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Take in one record."""
        key = record["key"]
        if record["kind"] == "sample":
            self.samples[key] = record
            self.failures.pop(key, None)
        elif record["kind"] == "grade":
            self.grades[key] = record
        elif record["kind"] == "text":
            self.texts[key] = record
        elif key not in self.samples:
            self.failures[key] = record


def load(directory: Path) -> Results:
    """All records of a run. A record of another schema raises BadRequest naming its line."""
    results, path = Results(), directory / RESULTS
    for number, record in read(path):
        if record.get("schema") != SCHEMA:
            raise BadRequest(f"{path}:{number}: expected schema {SCHEMA}, found {record.get('schema')!r}")
        if record.get("kind") not in KINDS or "key" not in record:
            raise BadRequest(f"{path}:{number}: expected a record of {', '.join(KINDS)} with a key, found kind {record.get('kind')!r}")
        results.add(record)
    return results


def load_json(path: Path) -> dict[str, Any]:
    """A JSON object that this package wrote."""
    if not path.is_file():
        raise BadRequest(f"{path}: no such file; is {path.parent} the directory of a run?")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BadRequest(f"{path}: not JSON ({error.msg} at line {error.lineno})") from error
    if not isinstance(value, dict):
        raise BadRequest(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


class Store:
    """An open run directory: what was there, and the log that grows. Keeps both in step."""

    def __init__(self, log: Log, results: Results) -> None:
        self._log = log
        self.results = results

    def add(self, kind: str, key: str, **values: Any) -> Record:
        """Append one record and take it in."""
        record: Record = {"schema": SCHEMA, "kind": kind, "key": key, **values}
        self._log.append(record)
        self.results.add(record)
        return record


@contextmanager
def opened(directory: Path, config: RunConfig, *, must_exist: bool = False) -> Iterator[Store]:
    """Open or begin the run of `config` in `directory`, for this process alone.

    Raises BadRequest when the directory holds another run's configuration, when another process writes there, or when nothing is there and
    `must_exist` says there should be.
    """
    if must_exist and not (directory / CONFIG).is_file():
        raise BadRequest(f"--resume: {directory} holds no run", param="resume")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        opened_lock = (directory / LOCK).open("w")
    except OSError as error:
        raise BadRequest(f"{directory} cannot be the directory of a run: {error.strerror}", param="out") from error
    with opened_lock as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadRequest(f"{directory}: another process is writing this run", param="out") from error
        _claim(directory, config)
        with Log(directory / RESULTS) as log:
            yield Store(log, load(directory))


def _claim(directory: Path, config: RunConfig) -> None:
    path = directory / CONFIG
    if not path.exists():
        write_atomic(path, json.dumps({"schema": SCHEMA, **config.as_json()}, indent=2, ensure_ascii=False) + "\n")
        return
    found = load_json(path)
    changed = differences({"schema": SCHEMA, **config.as_json()}, found)
    if changed:
        raise BadRequest(f"{directory} holds a run with another configuration ({'; '.join(changed)}). Choose another --out.", param="out")
