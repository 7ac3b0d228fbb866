"""Data sets of the Hugging Face hub, as rows. Imports `datasets` only when rows are read; knows no format.

The spelling is that of evalsuite's tasks: `hub:OWNER/NAME?revision=SHA`, with `split=` (train) and `config=` where they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from redraft.errors import BadRequest
from redraft.records import Record
from trainer.errors import BadConfig

PREFIX = "hub:"
FIELDS = ("revision", "split", "config")


@dataclass(frozen=True, slots=True)
class HubSet:
    """One split of a data set. Without a revision it is what the hub has today."""

    repo: str
    revision: str | None
    split: str = "train"
    config: str | None = None

    def __str__(self) -> str:
        given = {name: value for name in FIELDS if (value := getattr(self, name)) is not None}
        return f"{PREFIX}{self.repo}?{urlencode(given)}"


def parse(spec: str) -> HubSet:
    """A data set by its spelling. The revision must be named: only pinned rows can be trained on again."""
    repo, _, query = spec.removeprefix(PREFIX).partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    owner, _, name = repo.partition("/")
    if not owner or not name or given.keys() - set(FIELDS) or not given.get("revision"):
        raise BadConfig(
            f"{spec!r}: expected {PREFIX}OWNER/NAME?revision=SHA, and &split= (train by default) and &config= where they are needed",
            param="data",
        )
    return HubSet(repo, given["revision"], given.get("split") or "train", given.get("config") or None)


def rows(wanted: HubSet) -> Iterator[Record]:
    """All rows in order. Raises BadRequest when they cannot be had."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise BadRequest(f"{wanted}: needs `pip install datasets`, or a file instead of a hub id", param="data") from error
    try:
        found = load_dataset(wanted.repo, wanted.config, split=wanted.split, revision=wanted.revision)
    except (OSError, ValueError) as error:
        raise BadRequest(f"{wanted}: could not be loaded from the hub: {error}", param="data") from error
    for row in found:
        yield dict(row)
