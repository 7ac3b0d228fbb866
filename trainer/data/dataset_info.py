"""LLaMA-Factory's `dataset_info.json`: an entry becomes a place to read and a layout. What cannot be trained on here is refused by name.

As there, columns that an entry with `columns` does not name are not used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config import Format
from trainer.data import tables
from trainer.data.hub import HubSet
from trainer.data.layout import ChatForm, Layout
from trainer.data.tables import Place
from trainer.errors import BadConfig

FILE = "dataset_info.json"
KNOWN = {"hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "file_name", "formatting", "ranking", "subset", "split", "revision"}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output", "history": "history", "system": "system"},
    "sharegpt": {"messages": "conversations", "system": "system"},
}
"""For each formatting: the names that an entry's `columns` has for the fields of our format."""
PAIR = ("chosen", "rejected")
DEFAULTS = {"prompt": "instruction", "query": "input", "response": "output", "messages": "conversations"}
TAGS = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt", "system_tag": "system"}
TOOLS = {"observation_tag", "function_tag"}
"""Tags of turns that are refused where they occur in a row, as any role that is not known."""


@dataclass(frozen=True, slots=True)
class Entry:
    place: Place
    layout: Layout


class _Given:
    """One entry; its getters raise `BadConfig` naming file, entry and field."""

    def __init__(self, file: Path, name: str, fields: Mapping[str, Any]) -> None:
        self.file = file
        self.name = name
        self.fields = fields

    def bad(self, field: str, expected: str) -> BadConfig:
        return BadConfig(f"{self.file}: {self.name}: field `{field}`: {expected}", param=field)

    def text(self, field: str) -> str | None:
        value = self.fields.get(field)
        if value is not None and not isinstance(value, str):
            raise self.bad(field, f"expected a text, found {type(value).__name__}")
        return value

    def texts(self, field: str, known: set[str]) -> dict[str, str]:
        """A mapping of texts whose keys are among `known`."""
        value = self.fields.get(field) or {}
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise self.bad(field, "expected an object of texts")
        for key in value.keys() - known:
            raise self.bad(f"{field}.{key}", f"expected one of {', '.join(sorted(known))}; nothing else can be trained on here")
        return value


def entry(directory: Path, name: str) -> Entry:
    """What `dataset: NAME` with `dataset_dir: DIRECTORY` means."""
    given = _find(directory / FILE, name)
    for field in given.fields.keys() - KNOWN - {"columns", "tags"}:
        raise given.bad(field, f"expected one of {', '.join(sorted(KNOWN))}, columns, tags; it would change the rows and is not understood")
    return Entry(_place(given, directory), _layout(given))


def _find(file: Path, name: str) -> _Given:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadConfig(f"{file}: no such file; `dataset_dir` is the folder it lies in", param="dataset_dir") from None
    except json.JSONDecodeError as error:
        raise BadConfig(f"{file}:{error.lineno}: not JSON ({error.msg} at column {error.colno})", param="dataset_dir") from error
    if not isinstance(known, dict) or not isinstance(known.get(name), dict):
        listed = ", ".join(sorted(known)) if isinstance(known, dict) else "no object"
        raise BadConfig(f"{file}: field `{name}`: expected an entry of that name, found {listed}", param="dataset")
    return _Given(file, name, known[name])


def _place(given: _Given, directory: Path) -> Place:
    repo, file = given.text("hf_hub_url"), given.text("file_name")
    if repo:
        return HubSet(repo, given.text("revision"), given.text("split") or "train", given.text("subset"))
    if not file:
        raise given.bad("file_name", "is missing; expected it or `hf_hub_url` (other hubs and scripts are not read)")
    if Path(file).suffix not in tables.SUFFIXES:
        raise given.bad("file_name", f"expected a file {', '.join(tables.SUFFIXES)}, found {file!r}")
    return directory / file


def _layout(given: _Given) -> Layout:
    formatting = given.text("formatting") or "alpaca"
    if formatting not in COLUMNS:
        raise given.bad("formatting", f"expected one of {', '.join(COLUMNS)}, found {formatting!r}")
    ranking = given.fields.get("ranking", False)
    if not isinstance(ranking, bool):
        raise given.bad("ranking", f"expected true or false, found {ranking!r}")
    named = given.texts("columns", {*COLUMNS[formatting], *PAIR})
    columns: dict[str, str | None] = {}
    for theirs, ours in COLUMNS[formatting].items():
        columns[ours] = named.get(theirs) if named else DEFAULTS.get(theirs)
    if ranking:
        asked = columns.pop("instruction" if formatting == "alpaca" else "conversations")
        columns |= {"prompt": asked, **{side: named.get(side) for side in PAIR}}
    needed = ("prompt", *PAIR) if ranking else (("instruction", "output") if formatting == "alpaca" else ("conversations",))
    for ours in needed:
        if columns[ours] is None:
            raise given.bad("columns", f"expected the column of `{ours}`; it has {', '.join(named) or 'none'}")
    form = Format.PREFERENCE if ranking else Format(formatting)
    return Layout(form, columns, _turns(given) if formatting == "sharegpt" else None)


def _turns(given: _Given) -> ChatForm:
    tags = TAGS | given.texts("tags", {*TAGS, *TOOLS})
    roles = {tags["user_tag"]: "user", tags["assistant_tag"]: "assistant", tags["system_tag"]: "system"}
    return ChatForm(tags["role_tag"], tags["content_tag"], roles)
