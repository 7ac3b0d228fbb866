"""Settings as YAML with `key=value` overrides, and in words what is wrong with them. Knows no field by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from trainer.errors import BadConfig


def read(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, with each `a.b=value` set in it; values are YAML too."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadConfig(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise BadConfig(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise BadConfig(f"{path}: expected a mapping of fields, found {type(raw).__name__}")
    for override in overrides:
        _apply(raw, override)
    return raw


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise BadConfig(f"{override!r}: expected key=value, for example lora.rank=32")
    *parents, last = key.split(".")
    place = raw
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise BadConfig(f"{override!r}: {parent!r} has no fields", param=key)
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise BadConfig(f"{override!r}: not YAML: {error}", param=key) from error


def sentences(error: ValidationError) -> list[str]:
    """One sentence for each wrong field: its name, what was expected, what was found."""
    found = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        found.append(f"{where}: {message} (found {item['input']!r})" if where else message)
    return found
