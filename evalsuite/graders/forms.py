"""The grader objects: OpenAI's wire form for their types, the same shape for ours. Data alone: `grading` knows what they do.

What can be seen to be wrong without a row is refused here: unknown fields, templates, formulas, sources without `grade`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from evalsuite.graders import formula, template

OUTPUT = "{{ sample.output_text }}"
GOLD = "{{ item.gold }}"
MAX_SOURCE = 256 * 1024

Template = Annotated[str, AfterValidator(template.checked)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Share = Annotated[float, Field(ge=0, le=1)]


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    def texts(self) -> Iterator[str]:
        """All its templates."""
        yield from (value for field in ("input", "reference") if isinstance(value := getattr(self, field, None), str))


class StringCheck(Form):
    """1 or 0, by comparing two texts."""

    type: Literal["string_check"]
    name: Name
    operation: Literal["eq", "ne", "like", "ilike"]
    """Equal, not equal, `reference` contained in `input`, contained without regard to case."""
    input: Template
    reference: Template


def _metric(value: Any) -> Any:
    absent = {"cosine": "an embedding model", "meteor": "WordNet's data"}
    if value in absent:
        raise ValueError(f"{value} needs {absent[value]} and is not supported; expected one of {', '.join(METRICS)}")
    return value


METRICS = ("fuzzy_match", "bleu", "gleu", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l")
Metric = Annotated[
    Literal["fuzzy_match", "bleu", "gleu", "rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"], BeforeValidator(_metric)
]


class TextSimilarity(Form):
    """How alike two texts are."""

    type: Literal["text_similarity"]
    name: Name
    input: Template
    reference: Template
    evaluation_metric: Metric


class InputText(Form):
    type: Literal["input_text"]
    text: Template


class JudgeMessage(Form):
    role: Literal["system", "developer", "user", "assistant"]
    """`developer` is sent as `system`."""
    content: Template | InputText
    type: Literal["message"] = "message"

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else self.content.text


class Sampling(Form):
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    max_completions_tokens: Annotated[int, Field(ge=1)] | None = None
    """Spelt as OpenAI spells it."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


class ScoreModel(Form):
    """A model's judgement, asked for as JSON with a number inside `range`."""

    type: Literal["score_model"]
    name: Name
    model: Annotated[str, Field(min_length=1)]
    input: Annotated[tuple[JudgeMessage, ...], Field(min_length=1)]
    range: tuple[float, float] = (0.0, 1.0)
    sampling_params: Sampling = Sampling()

    @model_validator(mode="after")
    def _ascending(self) -> ScoreModel:
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range: expected the lower end first, found {list(self.range)}")
        return self

    def texts(self) -> Iterator[str]:
        yield from (message.text for message in self.input)


def _source(source: str) -> str:
    if len(source) > MAX_SOURCE:
        raise ValueError(f"expected at most {MAX_SOURCE} characters, found {len(source)}")
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"not Python: {error}") from None
    found = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "grade"]
    if not found or len(found[-1].args.posonlyargs + found[-1].args.args) != 2:
        raise ValueError("expected a function `grade(sample, item)` that returns a number")
    return source


class Python(Form):
    """A function of your own, run in a process of its own."""

    type: Literal["python"]
    name: Name
    source: Annotated[str, AfterValidator(_source)]


class MathEqual(Form):
    """1 where the output's final answer equals the reference as mathematics, by `evalsuite.checker`."""

    type: Literal["math_equal"]
    name: Name
    input: Template = OUTPUT
    reference: Template = GOLD
    box_required: bool = False
    """An answer outside `\\boxed{}` counts for nothing."""


class Rank(Form):
    """The output names several candidate answers, best first; the place of the right one decides."""

    type: Literal["rank"]
    name: Name
    input: Template = OUTPUT
    reference: Template = GOLD
    candidates: Literal["boxed", "lines", "json"] = "boxed"
    """Where the candidates stand: in boxes, one a line (numbers and dashes before them do not count), or in a JSON list of texts."""
    compare: Literal["math", "text"] = "math"
    weights: Annotated[tuple[Share, ...], Field(min_length=1)] = (1.0, 0.7, 0.4, 0.2, 0.1)
    """The score of the right answer in each place; in a later place, or in none, it is 0."""

    @model_validator(mode="after")
    def _falling(self) -> Rank:
        if list(self.weights) != sorted(self.weights, reverse=True):
            raise ValueError(f"weights: expected none greater than the one before, found {list(self.weights)}")
        return self


class WellFormed(Form):
    """1 where the output has the form that is asked for: an answer in a box, and an end."""

    type: Literal["format"]
    name: Name
    input: Template = OUTPUT
    boxed: bool = True
    ended: bool = True
    """The model ended by itself (`finish_reason` is `stop`)."""


class Length(Form):
    """1 up to `full`, then falling in a straight line to 0 at `zero`."""

    type: Literal["length"]
    name: Name
    full: Annotated[int, Field(ge=0)]
    zero: Annotated[int, Field(ge=1)]
    unit: Literal["tokens", "characters"] = "tokens"

    @model_validator(mode="after")
    def _ascending(self) -> Length:
        if not self.full < self.zero:
            raise ValueError(f"zero: expected more than full ({self.full}), found {self.zero}")
        return self


Single = Annotated[StringCheck | TextSimilarity | ScoreModel | Python | MathEqual | Rank | WellFormed | Length, Field(discriminator="type")]


class Multi(Form):
    """Several graders, and a formula over their scores."""

    type: Literal["multi"]
    name: Name
    graders: Annotated[dict[Identifier, Single], Field(min_length=1)]
    calculate_output: str

    @model_validator(mode="after")
    def _fits(self) -> Multi:
        used = formula.names(self.calculate_output)
        if clash := self.graders.keys() & formula.FUNCTIONS.keys():
            raise ValueError(f"graders: {', '.join(sorted(clash))}: a function of formulas has this name")
        if unknown := used - self.graders.keys():
            raise ValueError(f"calculate_output: {', '.join(sorted(unknown))}: no grader has this name; there is {', '.join(self.graders)}")
        if idle := self.graders.keys() - used:
            raise ValueError(f"calculate_output: {', '.join(sorted(idle))} is not used in it and would count for nothing")
        return self

    def texts(self) -> Iterator[str]:
        for grader in self.graders.values():
            yield from grader.texts()


def _unit_range(grader: Any) -> Any:
    if isinstance(grader, ScoreModel) and not (grader.range[0] >= 0 and grader.range[1] <= 1):
        found = f"from {grader.range[0]:g} to {grader.range[1]:g}"
        raise ValueError(f"range: a score is from 0 to 1 and this one {found}; scale it in the formula of a multi")
    return grader


Grader = Annotated[
    StringCheck | TextSimilarity | ScoreModel | Python | MathEqual | Rank | WellFormed | Length | Multi,
    Field(discriminator="type"),
    AfterValidator(_unit_range),
]
