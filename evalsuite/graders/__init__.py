"""Graders: how good is one output, from 0 to 1? Their objects have OpenAI's wire form. Imports `evalsuite.checker` and `redraft` alone.

    grader = parse({"type": "math_equal", "name": "answer"})
    grade(grader, Sample("The answer is \\\\boxed{42}."), {"gold": "42"}).value == 1.0

`docs/graders.md` has all types. A score is a number from 0 to 1, or a typed error says why there is none.
"""

from evalsuite.graders.errors import Fault, GraderError, GraderFailed, InvalidGrader, MissingField
from evalsuite.graders.forms import Grader
from evalsuite.graders.grading import Resources, Score, grade
from evalsuite.graders.judge import Judge
from evalsuite.graders.reading import check_item, load, parse, uses_model
from evalsuite.graders.sandbox import Isolation, Limits, isolation
from evalsuite.graders.template import Item, Sample

__all__ = [
    "Fault",
    "Grader",
    "GraderError",
    "GraderFailed",
    "InvalidGrader",
    "Isolation",
    "Item",
    "Judge",
    "Limits",
    "MissingField",
    "Resources",
    "Sample",
    "Score",
    "check_item",
    "grade",
    "isolation",
    "load",
    "parse",
    "uses_model",
]
