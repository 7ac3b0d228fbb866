"""Scores the saved responses of a run by text metrics, after the asking: ROUGE of long texts takes tens of milliseconds each."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite import texts
from evalsuite.store import Store
from redraft.records import Record


def score_texts(store: Store, metrics: Sequence[str]) -> int:
    """Append a `text` record for every graded sample that has no scores by these metrics yet. Says how many."""
    how = texts.settings(metrics)
    unscored = [key for key in store.results.samples if key in store.results.grades and not _is_scored(store, key, how)]
    score = texts.scorer(metrics) if unscored else None
    for key in unscored:
        assert score is not None
        sample = store.results.samples[key]
        references = references_of(sample)
        scores = [score(response["content"].strip(), references) for response in sample["responses"]]
        store.add("text", key, scores=scores, references=len(references), settings=how)
    return len(unscored)


def _is_scored(store: Store, key: str, how: dict[str, str]) -> bool:
    found = store.results.texts.get(key)
    return found is not None and found["settings"] == how


def references_of(sample: Record) -> list[str]:
    """What a sample's responses are measured against: its references, else its gold."""
    return list(sample.get("references") or [sample["gold"]])
