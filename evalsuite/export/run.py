"""A run as the writers of other forms need it. Knows none of these forms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalsuite import store
from evalsuite.config import RunConfig
from redraft.records import Record


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished run: configuration, summary, and its graded samples in the order of their ids' first appearance."""

    config: RunConfig
    summary: dict[str, Any]
    graded: tuple[tuple[Record, Record], ...]
    texts: dict[str, Record] = field(default_factory=dict)
    """Scores by text metrics, under the ids of problems."""

    @property
    def began(self) -> datetime:
        return datetime.fromtimestamp(min((s["timing"]["started_at"] for s, _ in self.graded), default=0.0), UTC)

    @property
    def ended(self) -> datetime:
        ends = (s["timing"]["started_at"] + s["timing"]["latency_s"] for s, _ in self.graded)
        return datetime.fromtimestamp(max(ends, default=0.0), UTC)

    def responses(self) -> Iterator[tuple[Record, Record, int]]:
        """Every response: its sample, its mark and its position in the sample. A loop has one: what it answered."""
        for sample, grade in self.graded:
            marks = grade["marks"] if len(grade["marks"]) == len(sample["responses"]) else [grade["final"]]
            for position, mark in enumerate(marks):
                yield sample, mark, position


def load(directory: Path) -> Exported:
    """The run in a directory; it must have been summarised."""
    config = RunConfig.from_json(store.load_json(directory / store.CONFIG))
    results = store.load(directory)
    graded = tuple((sample, results.grades[key]) for key, sample in results.samples.items() if key in results.grades)
    texts = {results.samples[key]["id"]: record for key, record in results.texts.items() if key in results.samples}
    return Exported(config, store.load_json(directory / store.SUMMARY), graded, texts)
