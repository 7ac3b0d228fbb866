"""Requests made from the whole OpenAPI schema of the real server, vLLM's own routes included: bounded, and no 5xx is ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis

from tests import fuzzing
from tests.e2e.conftest import Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("served", ["plugin"], indirect=True),
]
EXAMPLES = 4
OURS = ("/solve", "/critique", "/health", "/adapters", "/v1/models")
TYPES_OF_OURS = {"engine_error", "service_unavailable", "timeout_error"}
SHORT = dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens"), 32)
BUDGETS = {"max_tokens": 16, "max_calls": 4, "deadline_s": 60}


def bounded(path: str, body: Any) -> Any:
    """The same request, with an end in sight: what is generated here would take minutes."""
    if not isinstance(body, dict):
        return body
    loop = body.get("loop")
    if path == "/critique":
        return {**body, "max_tokens": 32}
    if path == "/solve":
        return {**body, "loop": {**(loop or {}), **BUDGETS}} if isinstance(loop, dict | None) else body
    return {**body, **SHORT} if {"messages", "prompt", "input"} & body.keys() else body


def fault_of(path: str, reply: Any) -> str | None:
    """What is wrong with a reply: a 5xx of ours, or an error of ours in another form. Other 5xx of vLLM's own routes are vLLM's."""
    if reply.status_code < 400 or reply.status_code in {405, 501}:
        return None
    ours = path.startswith(OURS)
    try:
        error = reply.json()["error"]
        wrong = error["code"] != reply.status_code or error.keys() != {"message", "type", "param", "code"}
        failed = reply.status_code >= 500 and (ours or error["type"] in TYPES_OF_OURS)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
        wrong, failed = True, False
    return f"{reply.status_code}: {reply.text[:300]}" if failed or (ours and wrong) else None


async def test_requests_made_from_the_whole_schema(served: Server) -> None:
    theirs: list[str] = []

    def ask(case: schemathesis.Case) -> None:
        path = case.operation.path
        case.body = bounded(path, case.body)
        reply = case.call(base_url=served.url, timeout=120)
        fault = fault_of(path, reply)
        assert fault is None, f"{case.as_curl_command()}: {fault}"
        if reply.status_code >= 500:
            theirs.append(f"{path} {reply.status_code}")

    counts = dict(fuzzing.play(served.url, EXAMPLES, ask))
    assert {"POST /solve", "POST /critique", "POST /v1/chat/completions", "POST /tokenize", "GET /metrics"} <= counts.keys()
    assert min(counts.values()) > 0
    print(f"{sum(counts.values())} requests to {len(counts)} routes; 5xx of vLLM's own: {theirs}")
    async with served.client() as client:
        assert (await client.get("/health/ready")).status_code == 200
