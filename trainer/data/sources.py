"""Where the rows of a configuration's `data` lie, and how they are spelled. Reads no rows."""

from __future__ import annotations

from pathlib import Path

from trainer.config import Source
from trainer.data import dataset_info, tables
from trainer.data.dataset_info import Entry
from trainer.data.layout import Layout
from trainer.errors import BadConfig


def resolve(source: Source) -> Entry:
    """The place of a source and its layout. A `format` beside a `dataset` is a contradiction: its entry says how it is spelled."""
    if source.dataset is not None:
        if "format" in source.model_fields_set:
            raise BadConfig(f"data: {source.dataset}: `format` is told by {dataset_info.FILE}; leave it out", param="data")
        return dataset_info.entry(source.dataset_dir, source.dataset)
    return Entry(tables.place(source.path or source.hub or ""), Layout(source.format))


def files(source: Source) -> tuple[Path, ...]:
    """The files that a source is read from; none for a data set of the hub."""
    if source.path is not None:
        return (source.path,)
    if source.dataset is None:
        return ()
    where = resolve(source).place
    return (source.dataset_dir / dataset_info.FILE, *([where] if isinstance(where, Path) else []))
