"""Requests made from a server's OpenAPI schema, the same at every run: with bodies that follow it, and with bodies that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

Ask = Callable[[schemathesis.Case], None]
"""Sends one request and asserts what is expected of the answer."""


def play(url: str, examples: int, ask: Ask) -> Iterator[tuple[str, int]]:
    """`examples` requests a route by the schema, and as many against it where it has a body -> (route, requests) for each."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for found in schema.get_all_operations():
        operation = found.ok()
        modes = list(GenerationMode) if operation.body else [GenerationMode.POSITIVE]
        yield f"{operation.method.upper()} {operation.path}", sum(_played(operation, mode, examples, ask) for mode in modes)


def _played(operation: schemathesis.APIOperation, mode: GenerationMode, examples: int, ask: Ask) -> int:
    count = 0

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: schemathesis.Case) -> None:
        nonlocal count
        count += 1
        ask(case)

    one()
    return count
