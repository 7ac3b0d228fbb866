"""One call: a grader, a sample and an item in, a score from 0 to 1 out. Knows which function serves which form, and nothing of how."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from evalsuite.graders import answers, formula, sandbox, texts
from evalsuite.graders.errors import Fault, GraderFailed, InvalidGrader
from evalsuite.graders.forms import (
    Grader,
    Length,
    MathEqual,
    Multi,
    Python,
    Rank,
    ScoreModel,
    Single,
    StringCheck,
    TextSimilarity,
    WellFormed,
)
from evalsuite.graders.judge import Judge
from evalsuite.graders.sandbox import Limits
from evalsuite.graders.template import Item, Sample, render


@dataclass(frozen=True, slots=True)
class Score:
    """`parts` holds the scores that a `multi` grader was computed from."""

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resources:
    """What some graders need beyond the sample: an endpoint for `score_model`, limits for `python`."""

    judge: Judge | None = None
    limits: Limits = field(default_factory=Limits)


def grade(grader: Grader, sample: Sample, item: Item, resources: Resources | None = None) -> Score:
    """The score, from 0 to 1. Raises GraderError. Blocks; may be called from any thread."""
    resources = resources or Resources()
    score = _multi(grader, sample, item, resources) if isinstance(grader, Multi) else Score(_single(grader, sample, item, resources))
    if not 0.0 <= score.value <= 1.0:
        raise GraderFailed(grader.name, Fault.OUT_OF_RANGE, f"expected a score from 0 to 1, found {score.value:g}")
    return score


def _multi(grader: Multi, sample: Sample, item: Item, resources: Resources) -> Score:
    parts = {name: _single(part, sample, item, resources) for name, part in grader.graders.items()}
    try:
        return Score(formula.evaluate(grader.calculate_output, parts), parts)
    except formula.NoResultError as error:
        raise GraderFailed(grader.name, Fault.FORMULA, str(error)) from error


def _single(grader: Single, sample: Sample, item: Item, resources: Resources) -> float:
    value = _raw(grader, sample, item, resources)
    if not math.isfinite(value):
        raise GraderFailed(grader.name, Fault.NOT_A_NUMBER, f"expected a finite number, found {value}")
    return value


def _raw(grader: Single, sample: Sample, item: Item, resources: Resources) -> float:
    match grader:
        case StringCheck():
            return texts.string_check(grader.operation, render(grader.input, sample, item), render(grader.reference, sample, item))
        case TextSimilarity():
            return texts.similarity(grader.evaluation_metric, render(grader.input, sample, item), render(grader.reference, sample, item))
        case MathEqual():
            found, gold = render(grader.input, sample, item), render(grader.reference, sample, item)
            return answers.math_equal(found, gold, box_required=grader.box_required)
        case Rank():
            return answers.rank(grader, render(grader.input, sample, item), render(grader.reference, sample, item))
        case WellFormed():
            return answers.well_formed(grader, render(grader.input, sample, item), sample)
        case Length():
            return answers.length(grader, sample)
        case Python():
            return sandbox.run(grader.name, grader.source, sample, item, resources.limits)
        case ScoreModel():
            if resources.judge is None:
                raise InvalidGrader(f"grader {grader.name!r}: score_model needs an endpoint to ask {grader.model!r}, and none is set")
            messages = [(message.role, render(message.text, sample, item)) for message in grader.input]
            return resources.judge.score(grader, messages)
    assert_never(grader)
