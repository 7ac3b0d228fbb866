"""Grader objects from JSON, and what can be seen of one without running it. Knows the forms, and not what they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evalsuite.graders import template
from evalsuite.graders.errors import InvalidGrader
from evalsuite.graders.forms import Grader, Multi, ScoreModel
from evalsuite.graders.template import Item, Sample

_ADAPTER: TypeAdapter[Grader] = TypeAdapter(Grader)


def parse(raw: object) -> Grader:
    """The grader of an object in the wire form. Raises InvalidGrader, which names each wrong field."""
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as error:
        raise InvalidGrader("; ".join(_sentences(error))) from error


def load(path: Path) -> Grader:
    """The grader in a JSON file."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidGrader(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise InvalidGrader(f"{path}: not JSON ({error.msg} in line {error.lineno})") from error
    try:
        return parse(raw)
    except InvalidGrader as error:
        raise InvalidGrader(f"{path}: {error.message}") from error


def check_item(grader: Grader, item: Item) -> None:
    """Raise MissingField if a template asks for something that this row has not. What a `python` grader reads shows only when it runs."""
    for text in grader.texts():
        for path in template.paths(text):
            if path.startswith("item."):
                template.value_at(path, Sample(""), item)


def uses_model(grader: Grader) -> bool:
    """Whether it asks a model."""
    parts = grader.graders.values() if isinstance(grader, Multi) else (grader,)
    return any(isinstance(part, ScoreModel) for part in parts)


def _sentences(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        yield f"{where}: {message}" if where else message
