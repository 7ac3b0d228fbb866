"""Requests that nobody would send: made from the OpenAPI schema, and from a corpus of hostile values. No answer is a 5xx of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis

from redraft.scripted import Reply
from tests import fuzzing
from tests.conftest import Script, verdict
from tests.server.conftest import Serve, Served

DRAFTS = [r"two and two: \boxed{4}", r"so \boxed{5}", r"I get \boxed{4.0} here"]
TYPES = {
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "idempotency_error",
    "not_supported_error",
}
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/solve", {"problem": "2+2?", "model": "scripted", "critic": "critic", "loop": {"drafts": 2, "temperature": 0.7, "seed": 1}}),
    ("/solve", {"messages": [{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}], "loop": {"effort": "low"}, "stream": False}),
    ("/critique", {"problem": "2+2?", "response": "4", "model": "critic", "max_tokens": 64}),
    (
        "/v1/chat/completions",
        {
            "model": "scripted:loop",
            "messages": [{"role": "user", "content": "2+2?"}],
            "max_tokens": 64,
            "stream_options": {"include_usage": True},
        },
    ),
    ("/v1/completions", {"model": "scripted", "prompt": "x", "stop": ["a"], "n": 1, "logprobs": 2, "response_format": {"type": "text"}}),
    ("/adapters", {"name": "a", "source": "b", "canary": 5}),
]
HOSTILE: list[str] = [
    '"\\u0000"',
    '"\\ud800"',
    '"\\ud83d\\ude00\\u202e"',
    '"../../../../etc/passwd"',
    '"{{ 7 * 7 }} ${7*7} %s%n"',
    '"\'; DROP TABLE keys; --"',
    '"<script>alert(1)</script>"',
    '"scripted:loop:loop"',
    '"scripted@000000000000"',
    '"' + "\\\\boxed{" * 300 + '"',
    '"' + "\\\\frac{1}{" * 200 + '"',
    '"' + "9" * 400 + '"',
    '""',
    '" "',
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "-1e400",
    "NaN",
    "9223372036854775808",
    "9" * 400,
    "0.1e-400",
    "[]",
    "{}",
    "[" * 80 + "]" * 80,
    '{"$ref": "#"}',
    '{"type": "text", "text": {"type": "text"}}',
    '[{"role": "user", "content": null}]',
]


def is_ours(reply: Any) -> str | None:
    """What is wrong with a reply: a 5xx, or an error in another form than ours. None when nothing is."""
    if reply.status_code >= 500 and reply.status_code != 501:  # a remote engine's adapters are not ours to manage
        return f"{reply.status_code}: {reply.text[:300]}"
    if reply.status_code < 400 or reply.status_code == 405:
        return None
    error = reply.json()["error"]
    if error.keys() <= {"message", "param"}:
        return None  # what the scripted engine says itself is shorter
    return None if error["code"] == reply.status_code and error["type"] in TYPES else f"{error}"


@pytest.fixture
def served(serve: Serve) -> Served:
    judge = verdict(0.2)
    return serve(
        Script(DRAFTS, critic=lambda request: judge(request) * request.n, reviser=lambda request: [Reply(r"\boxed{4}")] * request.n)
    )


def fuzzed(served: Served, examples: int) -> dict[str, int]:
    """How many requests each route got."""

    def ask(case: schemathesis.Case) -> None:
        fault = is_ours(case.call(base_url=served.url, timeout=30))
        assert fault is None, f"{case.as_curl_command()}: {fault}"

    return dict(fuzzing.play(served.url, examples, ask))


def test_requests_made_from_the_schema(served: Served) -> None:
    counts = fuzzed(served, examples=8)
    assert {"POST /solve", "POST /critique", "POST /v1/chat/completions", "GET /adapters/{adapter_name}"} <= counts.keys()
    assert min(counts.values()) > 0
    assert counts["POST /solve"] > 8


@pytest.mark.soak
def test_many_requests_made_from_the_schema(served: Served) -> None:
    assert fuzzed(served, examples=400)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a body: every leaf and every branch, the whole of it too."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in inside:
        yield from places(inner, (*path, name))


def with_mark(body: Any, path: tuple[Any, ...]) -> str:
    """The body as JSON with a mark in one place."""
    if not path:
        return '"#mark#"'
    copy = json.loads(json.dumps(body))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = "#mark#"
    return json.dumps(copy)


@pytest.mark.parametrize(("path", "body"), BODIES, ids=[f"{path}-{i}" for i, (path, _) in enumerate(BODIES)])
def test_a_hostile_value_in_every_place(served: Served, path: str, body: dict[str, Any]) -> None:
    faults = []
    with httpx.Client(base_url=served.url, timeout=30, headers={"content-type": "application/json"}, trust_env=False) as client:
        for place in places(body):
            marked = with_mark(body, place)
            for value in HOSTILE:
                reply = client.post(path, content=marked.replace('"#mark#"', value).encode("utf-8", "surrogatepass"))
                if path == "/v1/completions" and reply.status_code == 404:
                    continue  # the scripted engine has no such route, and passed it is
                fault = is_ours(reply)
                if fault is not None:
                    faults.append(f"{'.'.join(map(str, place))} = {value[:60]}: {fault}")
    assert faults == []
