"""Which texts are nearly the same: duplicates among critiques, and problems that stand in a test set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SHINGLE = 3
NGRAM = 13
WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[+\-*/=^]")


def words(text: str) -> tuple[str, ...]:
    """The words, numbers and signs of a text, in lower case."""
    return tuple(WORD.findall(text.lower()))


def shingles(tokens: Sequence[str], size: int) -> frozenset[tuple[str, ...]]:
    """All runs of `size` words; of a shorter text the one run that it is."""
    return frozenset(tuple(tokens[at : at + size]) for at in range(max(1, len(tokens) - size + 1)))


class NearDuplicates:
    """Remembers texts by group, and finds one in the same group that shares at least `threshold` of its shingles (Jaccard).

    The group is a problem: the same words are the same problem, however they are set.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._groups: dict[tuple[str, ...], list[tuple[str, frozenset[tuple[str, ...]]]]] = {}

    def find(self, group: str, text: str) -> str | None:
        """The name of a text that is nearly `text`."""
        mine = shingles(words(text), SHINGLE)
        for name, theirs in self._groups.get(words(group), ()):
            if len(mine & theirs) >= self.threshold * len(mine | theirs):
                return name
        return None

    def add(self, group: str, name: str, text: str) -> None:
        self._groups.setdefault(words(group), []).append((name, shingles(words(text), SHINGLE)))


class TestSets:
    """Problems that must not be trained on: the same words, or a run of 13 words in common."""

    __test__ = False

    def __init__(self) -> None:
        self._whole: dict[tuple[str, ...], str] = {}
        self._runs: dict[tuple[str, ...], str] = {}

    def add(self, name: str, problems: Iterable[str]) -> None:
        for problem in problems:
            tokens = words(problem)
            self._whole[tokens] = name
            if len(tokens) >= NGRAM:
                self._runs.update(dict.fromkeys(shingles(tokens, NGRAM), name))

    def find(self, problem: str) -> str | None:
        """The test set that this problem is from, by the look of it."""
        tokens = words(problem)
        if tokens in self._whole:
            return self._whole[tokens]
        if len(tokens) < NGRAM:
            return None
        return next((self._runs[run] for run in shingles(tokens, NGRAM) if run in self._runs), None)
