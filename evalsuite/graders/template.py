"""Templates: `{{ sample.output_text }}` and `{{ item.field }}` in a text. Filled in one pass; what is filled in is no template itself.

A name that is unknown is an error, when the template is made (`sample`) or when a row is there to look into (`item`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evalsuite.graders.errors import MissingField

Item = Mapping[str, Any]

_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = re.compile(r"\s*((?:sample|item)(?:\.\w+)+)\s*")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a model put out for one item. None is what nobody knows here."""

    output_text: str
    finish_reason: str | None = None
    """`stop` where the model ended by itself, `length` where it was cut off."""
    output_tokens: int | None = None

    def fields(self) -> dict[str, Any]:
        """As a grader's own code gets it."""
        return asdict(self)


SAMPLE_FIELDS = tuple(Sample.__dataclass_fields__)


def checked(text: str) -> str:
    """`text` if it is a template; raises ValueError where a hole is not closed or names something else than `sample` and `item`."""
    for hole in _HOLE.findall(text):
        found = _PATH.fullmatch(hole)
        if found is None:
            raise ValueError(f"{{{{{hole}}}}}: expected {{{{ sample.FIELD }}}} or {{{{ item.FIELD }}}}")
        space, field = found[1].split(".", 1)
        if space == "sample" and field not in SAMPLE_FIELDS:
            raise ValueError(f"{{{{{hole}}}}}: a sample has {', '.join(SAMPLE_FIELDS)}")
    if "{{" in _HOLE.sub("", text):
        raise ValueError("a `{{` is not closed")
    return text


def paths(text: str) -> Iterator[str]:
    """The paths in a template's holes, such as `item.gold`."""
    for hole in _HOLE.findall(text):
        yield hole.strip()


def render(text: str, sample: Sample, item: Item) -> str:
    """The template with its holes filled: texts as they are, other values as JSON."""
    return _HOLE.sub(lambda hole: _text(value_at(hole[1].strip(), sample, item)), text)


def value_at(path: str, sample: Sample, item: Item) -> Any:
    """The value of a path. Raises MissingField where there is none."""
    space, *steps = path.split(".")
    value: Any = item if space == "item" else sample.fields()
    for depth, step in enumerate(steps, start=2):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise MissingField(".".join([space, *steps][:depth]), f"is missing; {_had(value)}")
    if value is None:
        raise MissingField(path, "expected a value, found null")
    return value


def _had(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"there is {', '.join(map(repr, value)) or 'nothing'}"
    return f"there is a list of {len(value)}" if isinstance(value, list) else f"there is a {type(value).__name__}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
