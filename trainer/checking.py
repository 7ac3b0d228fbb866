"""What the stages ask of an answer checker. `evalsuite.checker` is one; it is imported on first use, so that command lines stay quick."""

from __future__ import annotations

from typing import Protocol

from redraft.prompts import RIGHT, WRONG


class Checker(Protocol):
    """Extracts answers, and says whether two are the same."""

    def extract(self, response: str) -> str | None: ...

    def is_equal(self, gold: str, pred: str) -> bool: ...


class MathChecker:
    """`evalsuite.checker` behind the protocol."""

    def __init__(self) -> None:
        from evalsuite import checker

        self._checker = checker

    def extract(self, response: str) -> str | None:
        answer: str | None = self._checker.extract(response)
        return answer

    def is_equal(self, gold: str, pred: str) -> bool:
        return bool(self._checker.is_equal(gold, pred))


def label(checker: Checker, gold: str, response: str) -> str:
    """`right` or `wrong`; a response without an answer is wrong."""
    answer = checker.extract(response)
    return RIGHT if answer is not None and checker.is_equal(gold, answer) else WRONG
