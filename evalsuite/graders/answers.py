"""Graders of answers: equality as mathematics, place in a ranking, form, length. Answers are found and compared by `evalsuite.checker`."""

from __future__ import annotations

import json
import re

from evalsuite import checker
from evalsuite.graders.errors import Fault, GraderFailed
from evalsuite.graders.forms import Length, Rank, WellFormed
from evalsuite.graders.template import Sample

MAX_CANDIDATES = 50
MAX_BOX_CHARS = 4_000
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_LIST_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,3}[.):])\s+")


def math_equal(found: str, gold: str, *, box_required: bool) -> float:
    """1 where the final answer in `found` equals `gold`. Without an answer, or where the checker cannot decide, 0."""
    if box_required and not boxes(found):
        return 0.0
    return float(checker.is_equal(gold, found))


def rank(grader: Rank, found: str, gold: str) -> float:
    """The weight of the first place whose candidate is right. A candidate that was named before takes no new place."""
    places = list(dict.fromkeys(candidate.strip() for candidate in _candidates(grader, found)))
    for candidate, weight in zip(places, grader.weights, strict=False):
        same = checker.is_equal(gold, candidate) if grader.compare == "math" else candidate.casefold() == gold.strip().casefold()
        if same:
            return weight
    return 0.0


def well_formed(grader: WellFormed, found: str, sample: Sample) -> float:
    if grader.ended and sample.finish_reason is None:
        raise GraderFailed(grader.name, Fault.UNKNOWN, "why generation ended is not known here (sample.finish_reason); set ended to false")
    if grader.ended and sample.finish_reason != "stop":
        return 0.0
    return float(not grader.boxed or bool(boxes(found)))


def length(grader: Length, sample: Sample) -> float:
    if grader.unit == "characters":
        size = len(sample.output_text)
    elif sample.output_tokens is None:
        raise GraderFailed(grader.name, Fault.UNKNOWN, "the number of tokens is not known here (sample.output_tokens); count characters")
    else:
        size = sample.output_tokens
    return min(1.0, max(0.0, (grader.zero - size) / (grader.zero - grader.full)))


def boxes(text: str) -> list[str]:
    """What stands in closed boxes, in order; empty boxes do not count."""
    inside = (_closed(text, match.end()) for match in _BOX.finditer(text))
    return [content for content in inside if content and content.strip()]


def _closed(text: str, start: int) -> str | None:
    """The group that is open at `start`, or None where it is not closed."""
    depth, escaped = 1, False
    for place in range(start, min(len(text), start + MAX_BOX_CHARS)):
        char = text[place]
        if char in "{}" and not escaped:
            depth += 1 if char == "{" else -1
            if depth == 0:
                return text[start:place]
        escaped = char == "\\" and not escaped
    return None


def _candidates(grader: Rank, found: str) -> list[str]:
    if grader.candidates == "boxed":
        return boxes(found)[:MAX_CANDIDATES]
    if grader.candidates == "lines":
        lines = (_LIST_MARK.sub("", line) for line in found.splitlines())
        return [line for line in lines if line.strip()][:MAX_CANDIDATES]
    try:
        listed = json.loads(found)
    except (ValueError, RecursionError):
        return []
    if not isinstance(listed, list):
        return []
    return [str(one) for one in listed if isinstance(one, str | int | float)][:MAX_CANDIDATES]
