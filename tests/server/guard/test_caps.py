"""What a body may ask for, field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from redraft.errors import BadRequest
from server.config import GuardSettings, Limits
from server.guard.caps import Caps

CAPS = Caps(Limits(), frozenset(GuardSettings().template_kwargs))
PNG = "data:image/png;base64,AAAA"


def nested(levels: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def parts(*content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}]}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"n": 65}, "n"),
    ({"n": "65"}, "n"),
    ({"n": 65.0}, "n"),
    ({"n": 10**400}, "n"),
    ({"best_of": 1000}, "best_of"),
    ({"top_logprobs": 21}, "top_logprobs"),
    ({"logprobs": 21}, "logprobs"),
    ({"prompt_logprobs": -1}, "prompt_logprobs"),
    ({"prompt_logprobs": "-1"}, "prompt_logprobs"),
    ({"logprob_token_ids": list(range(33))}, "logprob_token_ids"),
    ({"stop": ["x"] * 33}, "stop"),
    ({"stop": "x" * 513}, "stop"),
    ({"stop_sequences": ["x" * 513]}, "stop_sequences"),
    ({"bad_words": ["x"] * 33}, "bad_words"),
    ({"stop_token_ids": [1] * 33}, "stop_token_ids"),
    ({"structured_outputs": {"regex": "((a{99}){99})"}}, "structured_outputs"),
    ({"structured_outputs": {"regex": "a" * 8193}}, "structured_outputs"),
    ({"structured_outputs": {"grammar": "a" * (1 << 18) + "b"}}, "structured_outputs"),
    ({"structured_outputs": {"choice": ["word"] * 100_000}}, "structured_outputs"),
    ({"structured_outputs": {"json": json.dumps({"pattern": "a{9999}"})}}, "structured_outputs"),
    ({"structured_outputs": {"json": nested(70)}}, "structured_outputs"),
    ({"structured_outputs": {"json": "[" * 100_000}}, "structured_outputs"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"pattern": "a{9999}"}}}}, "response_format"),
    ({"response_format": {"json_schema": {"schema": {"patternProperties": {"a{9999}": {}}}}}}, "response_format"),
    ({"response_format": {"json_schema": {"schema": {f"property{i}": {} for i in range(30_000)}}}}, "response_format"),
    ({"text": {"format": {"schema": nested(500)}}}, "text"),
    ({"tools": [{"type": "function", "function": {"parameters": {"pattern": "a{9999}"}}}]}, "tools"),
    ({"tools": [{"type": "mcp", "server_url": "http://10.0.0.1"}]}, "tools.server_url"),
    ({"chat_template": "{{ messages }}"}, "chat_template"),
    ({"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs"),
    ({"chat_template_kwargs": {"enable_thinking": {"a": 1}}}, "chat_template_kwargs"),
    (parts({"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}), "messages.0.content"),
    (parts({"type": "image_url", "image_url": "https://x/y.png"}), "messages.0.content"),
    (parts({"type": "image_url", "image_url": {"url": " \tHTTP://x"}}), "messages.0.content"),
    (parts({"type": "video_url", "video_url": {"url": "file:///etc/passwd"}}), "messages.0.content"),
    (parts({"audio_url": {"url": "ftp://x"}}), "messages.0.content"),
    (parts({"type": "image", "source": {"type": "url", "url": "http://x"}}), "messages.0.content"),
    (parts({"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}), "messages.0.content"),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]}]}, "input.0.content"),
    ({"messages": [parts({"image_url": "http://x"})["messages"]]}, "messages.0"),
    ({"query": {"content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}}, "query.content"),
    ({"documents": ["text", {"content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]}, "documents.1.content"),
    *(({field: [{"content": [{"image_url": {"url": "http://x"}}]}]}, f"{field}.0.content") for field in ("queries", "items", "inputs")),
    *(({field: {"content": [{"video_url": {"url": "http://x"}}]}}, f"{field}.content") for field in ("data_1", "data_2")),
    *(({field: [{"content": [{"image_url": {"url": "http://x"}}]}]}, f"{field}.0.content") for field in ("text_1", "text_2")),
    ({"images": [PNG, "http://169.254.169.254/"]}, "images.1"),
    ({"kv_transfer_params": {"remote_host": "10.0.0.1"}}, "kv_transfer_params"),
    ({"engine_url": "http://x"}, "engine_url"),
    ({"api_base": "http://x"}, "api_base"),
]
ALLOWED: list[dict[str, Any]] = [
    {"n": 64, "top_logprobs": 20, "logprobs": True, "stop": ["\n"] * 4, "best_of": None, "chat_template": None},
    {"n": "many", "stop": 7, "tools": None, "messages": "text", "chat_template_kwargs": 3},
    {"chat_template_kwargs": {"enable_thinking": False, "reasoning_effort": "low"}},
    parts({"type": "image_url", "image_url": {"url": PNG}}, {"type": "text", "text": "see http://example.org"}),
    parts({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}),
    {"tools": [{"type": "function", "function": {"parameters": {"properties": {"image_url": {"type": "string"}}}}}]},
    {"response_format": {"type": "json_schema", "json_schema": {"schema": nested(20)}}},
    {"structured_outputs": {"regex": r"\d{4}-\d{2}-\d{2}", "json": None}},
    {"structured_outputs": {"json": "not json"}},
    {"query": "see http://example.org", "documents": ["http://example.org", {"content": [{"image_url": {"url": PNG}}]}], "images": [PNG]},
    {"text_1": "http://example.org", "text_2": ["http://example.org"], "items": 7, "images": "x"},
    {"input": list(range(5000)), "prompt": [[1, 2], [3]], "unknown": {"image_url": "http://x"}},
]


@pytest.mark.parametrize(("body", "param"), REFUSED, ids=[f"{param}-{i}" for i, (_, param) in enumerate(REFUSED)])
def test_what_is_over_a_cap_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as error:
        CAPS.check({"model": "m", **body})
    assert error.value.param == param
    assert f"`{param}" in error.value.message


@pytest.mark.parametrize("body", ALLOWED, ids=range(len(ALLOWED)))
def test_what_clients_do_every_day_passes(body: dict[str, Any]) -> None:
    CAPS.check(body)


def test_a_wide_schema_is_measured_before_it_is_searched() -> None:
    """Far over the cap it is refused at once: a body of 16 MB must not hold the event loop."""
    with pytest.raises(BadRequest, match="more than the 262144 characters"):
        CAPS.check({"tools": [{"pattern": "(" * (16 << 20)}]})
