"""`score_model` over HTTP: the request that is sent, the number that is read, and each way in which there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from evalsuite.graders import Fault, GraderFailed, InvalidGrader, Judge, Resources, Sample, grade, judge, parse

RAW: dict[str, Any] = {
    "type": "score_model",
    "name": "tutor",
    "model": "judge-1",
    "input": [
        {"role": "developer", "content": "Grade."},
        {"type": "message", "role": "user", "content": {"type": "input_text", "text": "{{ sample.output_text }} / {{ item.gold }}"}},
    ],
    "sampling_params": {"temperature": 0, "seed": 3, "max_completions_tokens": 64},
}


def completion(content: object, **choice: Any) -> httpx.Response:
    message = {"role": "assistant", "content": content, **choice.pop("message", {})}
    return httpx.Response(200, json={"choices": [{"message": message, "finish_reason": "stop", **choice}]})


def ask(reply: Callable[[httpx.Request], httpx.Response], raw: dict[str, Any] = RAW) -> float:
    with Judge("http://judge.test", "key", retries=1, transport=httpx.MockTransport(reply)) as asked:
        return grade(parse(raw), Sample("four"), {"gold": "4"}, Resources(judge=asked)).value


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "PAUSE_S", 0.0)


def test_the_request_asks_for_a_number_in_a_shape() -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return completion('{"reason": "close", "score": 0.75}')

    assert ask(reply) == 0.75
    body = json.loads(seen[0].content)
    assert str(seen[0].url) == "http://judge.test/v1/chat/completions"
    assert seen[0].headers["authorization"] == "Bearer key"
    assert body["messages"] == [{"role": "system", "content": "Grade."}, {"role": "user", "content": "four / 4"}]
    assert (body["model"], body["temperature"], body["seed"], body["max_completion_tokens"]) == ("judge-1", 0, 3, 64)
    score = body["response_format"]["json_schema"]["schema"]["properties"]["score"]
    assert (score["minimum"], score["maximum"]) == (0, 1)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (completion("fine"), Fault.UNPARSABLE),
        (completion('{"reason": "x"}'), Fault.UNPARSABLE),
        (completion("[1]"), Fault.UNPARSABLE),
        (completion("[" * 100_000), Fault.UNPARSABLE),
        (completion(None), Fault.UNPARSABLE),
        (completion('{"score": 0.5}', finish_reason="length"), Fault.UNPARSABLE),
        (completion('{"score": "high"}'), Fault.NOT_A_NUMBER),
        (completion('{"score": true}'), Fault.NOT_A_NUMBER),
        (completion('{"score": NaN}'), Fault.NOT_A_NUMBER),
        (completion('{"score": 7}'), Fault.OUT_OF_RANGE),
        (completion('{"score": 1' + "0" * 400 + "}"), Fault.OUT_OF_RANGE),
        (completion('{"score": 1' + "0" * 5_000 + "}"), Fault.UNPARSABLE),
        (completion(None, message={"refusal": "no"}), Fault.REJECTED),
        (httpx.Response(200, text="<html>"), Fault.UNPARSABLE),
        (httpx.Response(200, json={"choices": []}), Fault.UNPARSABLE),
        (httpx.Response(404, text="no model"), Fault.REJECTED),
        (httpx.Response(503, text="busy"), Fault.UNREACHABLE),
    ],
)
def test_a_reply_that_is_none_is_a_typed_failure(reply: httpx.Response, fault: Fault) -> None:
    with pytest.raises(GraderFailed) as caught:
        ask(lambda request: reply)
    assert caught.value.fault is fault


def test_what_may_pass_is_tried_again() -> None:
    replies = [httpx.Response(503, text="busy"), completion('{"score": 1}')]
    assert ask(lambda request: replies.pop(0)) == 1


def test_no_connection_is_a_typed_failure() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(GraderFailed, match="after 2 attempts: ConnectError refused"):
        ask(broken)


def test_a_wider_range_is_scaled_by_a_multi() -> None:
    raw = {"type": "multi", "name": "m", "graders": {"stars": {**RAW, "range": [1, 5]}}, "calculate_output": "(stars - 1) / 4"}
    assert ask(lambda request: completion('{"score": 4}'), raw) == 0.75
    with pytest.raises(GraderFailed, match="expected a score from 1 to 5, found 0"):
        ask(lambda request: completion('{"score": 0}'), {**raw, "calculate_output": "stars"})


def test_without_an_endpoint_it_says_so() -> None:
    with pytest.raises(InvalidGrader, match="needs an endpoint"):
        grade(parse(RAW), Sample("x"), {"gold": "4"})
