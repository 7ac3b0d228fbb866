"""What a user does, on the real engine: the `openai` client off the shelf, the loop, critiques, disconnects, bad input."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import openai
import pytest

from redraft import parse
from redraft.types import Verdict
from tests.e2e.conftest import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PROBLEM = "Tom has 3 apples and buys 4 more. How many apples does he have?"
ASK: Any = [{"role": "user", "content": PROBLEM}]
LOOP = {"drafts": 4, "rounds": 1, "response_tokens": 96, "critique_tokens": 48, "seed": 3}
ENDLESS = {"drafts": 4, "deadline_s": 4, "response_tokens": 1024, "temperature": 1.5}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def api(served: Server) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=300)


async def test_models(served: Server) -> None:
    async with api(served) as client:
        names = [m.id async for m in client.models.list()]
    assert names == [served.model, "tiny", "other", f"{served.model}:loop", "tiny:loop", "other:loop"]


async def test_chat_whole_and_streamed_agree(served: Server) -> None:
    async with api(served) as client:
        whole = await client.chat.completions.create(model=served.model, messages=ASK, max_tokens=24, temperature=0)
        text, usage = "", None
        stream = await client.chat.completions.create(
            model=served.model, messages=ASK, max_tokens=24, temperature=0, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            usage = chunk.usage or usage
    assert text == whole.choices[0].message.content
    assert usage is not None
    assert whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens == 24


async def test_tools_structured_outputs_and_completions_off_the_shelf(served: Server) -> None:
    schema = {"type": "object", "properties": {"apples": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["apples"]}
    async with api(served) as client:
        called = await client.chat.completions.create(
            model=served.model,
            messages=[{"role": "user", "content": "What is the weather in Paris?"}],
            tools=[WEATHER],
            tool_choice="required",
            max_tokens=80,
            temperature=0,
        )
        functions = [c.function for c in called.choices[0].message.tool_calls or [] if c.type == "function"]
        assert [f.name for f in functions] == ["weather"]
        assert isinstance(json.loads(functions[0].arguments)["city"], str)
        shaped = await client.chat.completions.create(
            model=served.model,
            messages=ASK,
            max_tokens=60,
            temperature=0,
            response_format={"type": "json_schema", "json_schema": {"name": "count", "schema": schema}},
        )
        assert isinstance(json.loads(shaped.choices[0].message.content or "")["apples"], int)
        plain = await client.completions.create(model="tiny", prompt="one two three", max_tokens=5, logprobs=2)
        assert plain.usage is not None
        assert plain.usage.completion_tokens == 5


async def test_solve_and_its_accounts(served: Server) -> None:
    before = await served.series("vllm:generation_tokens_total")
    async with served.client() as client:
        reply = await client.post("/solve", json={"problem": PROBLEM, "loop": LOOP})
    body = reply.json()
    assert reply.status_code == 200, body
    solved = [step for step in body["transcript"] if step["stage"] == "solve"]
    assert len(solved) == 4
    assert any(step["content"] == body["content"] for step in body["transcript"])
    assert body["outcome"]["stop"] in {"agreed", "settled", "rounds", "no_answer"}
    counted = body["usage"]["completion_tokens"]
    assert counted == sum(stage["completion_tokens"] for stage in body["usage"]["loop"].values())
    made = await served.series("vllm:generation_tokens_total") - before
    cancelled = sum(step["stage"] != "critique" and step["finish_reason"] == "cancelled" for step in body["transcript"])
    assert abs(made - counted) <= 4 * cancelled, (made, counted, cancelled)


async def test_a_loop_that_disagrees_critiques_and_revises(served: Server) -> None:
    """Structured by hand: two conversations that force different answers cannot be had, so sampling is made wild instead."""
    async with served.client() as client:
        for seed in range(8):
            loop = {**LOOP, "drafts": 8, "temperature": 1.2, "seed": seed, "critique": "always"}
            body = (await client.post("/solve", json={"problem": "What is 2+3? Answer as \\boxed{number}.", "loop": loop})).json()
            if body["usage"]["loop"]["critique"]["calls"]:
                break
        else:
            pytest.fail("no seed of eight gave two different answers")
    critiques = [step for step in body["transcript"] if step["stage"] == "critique"]
    assert critiques
    for step in critiques:
        assert step["verdict"] == "abstain" or 0 <= step["p_correct"] <= 1
    assert body["outcome"]["critic"] == "uncalibrated"
    first = [step["answer"] for step in body["transcript"] if step["stage"] == "solve"]
    assert first.count(body["answer"]) == max(first.count(a) for a in first if a is not None)


async def test_the_same_seed_gives_the_same_drafts(served: Server) -> None:
    loop = {**LOOP, "drafts": 3, "rounds": 0, "response_tokens": 40}
    async with served.client() as client:
        runs = [(await client.post("/solve", json={"problem": PROBLEM, "loop": loop})).json() for _ in range(2)]
        other = (await client.post("/solve", json={"problem": PROBLEM, "loop": {**loop, "seed": 4}})).json()
    texts = [[step["content"] for step in run["transcript"]] for run in (*runs, other)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert len(set(texts[0])) == 3


@pytest.mark.parametrize("critic", [None, "tiny"])
async def test_critique(served: Server, critic: str | None) -> None:
    ask = {"problem": PROBLEM, "response": "3 + 4 = 8. The answer is \\boxed{8}.", "max_tokens": 60}
    if critic is not None:
        ask["model"] = critic
    async with served.client() as client:
        body = (await client.post("/critique", json=ask)).json()
        streamed = (await client.post("/critique", json={**ask, "stream": True})).text
    *pieces, result = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    assert "".join(piece["text"] for piece in pieces) == result["critique"]
    for judged in (body, result):
        assert judged["model"] == (critic or served.model)
        assert judged["usage"]["completion_tokens"] <= 60
        if judged["verdict"] == "abstain":
            assert judged["p_correct"] is None
            assert "no conclusion" in judged["reason"]
        else:
            assert parse.conclusion(judged["critique"]) is Verdict(judged["verdict"])
            assert (judged["p_correct"] >= 0.5) == (judged["verdict"] == "correct")


async def test_the_base_model_as_critic_reads_its_labels(served: Server) -> None:
    async with served.client() as client:
        body = (await client.post("/critique", json={"problem": "1+1?", "response": "\\boxed{2}", "max_tokens": 40})).json()
    assert body["verdict"] in {"correct", "incorrect"}, body


async def test_the_loop_streams_through_the_openai_client(served: Server) -> None:
    reasoning, content, usage, finish = "", "", None, None
    async with api(served) as client:
        stream: Any = await client.chat.completions.create(
            model=f"{served.model}:loop", messages=ASK, stream=True, stream_options={"include_usage": True}, extra_body={"loop": LOOP}
        )
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""
                content += choice.delta.content or ""
                finish = choice.finish_reason or finish
    assert finish == "stop"
    assert content
    assert [f"### Draft {k}\n" in reasoning for k in (1, 2, 3, 4)] == [True] * 4
    assert content in reasoning
    assert usage is not None
    assert usage.completion_tokens == sum(stage["completion_tokens"] for stage in usage.loop.values()) > 0


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("path", ["/solve", "/critique", "/v1/chat/completions"])
async def test_a_disconnect_stops_the_engine(served: Server, path: str, streamed: bool) -> None:
    body: dict[str, Any] = {"stream": streamed}
    if path == "/solve":
        body |= {"problem": "Count to ten thousand.", "loop": {"drafts": 4, "response_tokens": 1024, "temperature": 1.5}}
    elif path == "/critique":
        body |= {"problem": "Count.", "response": "one", "max_tokens": 2000}
    else:
        body |= {"model": f"{served.model}:loop", "messages": ASK, "loop": {"drafts": 4, "response_tokens": 1024, "temperature": 1.5}}
    for _ in range(4):
        async with served.client() as client, asyncio.TaskGroup() as group:
            task = group.create_task(client.post(path, json=body))
            caught = await seen_running(served, task)
            task.cancel()
        if caught:
            break
    assert caught, "every one of four requests ended before it was seen running"
    await idle(served)


async def seen_running(served: Server, task: asyncio.Task[Any]) -> bool:
    """Wait until the engine works on the request; False when the request ended first (a model may stop at its first token)."""
    while not task.done():
        if await served.series("vllm:num_requests_running"):
            return not task.done()
        await asyncio.sleep(0.01)
    assert task.result().status_code == 200, task.result().text
    return False


async def idle(served: Server, *, within_s: float = 10.0) -> None:
    """Wait until the engine works on nothing. The last look comes after the deadline: a starved test blames nobody else."""
    started = time.monotonic()
    while await served.series("vllm:num_requests_running") + await served.series("vllm:num_requests_waiting"):
        assert time.monotonic() - started < within_s, "the engine still works on a request whose client has left"
        await asyncio.sleep(0.02)


async def test_budgets_hold_on_the_real_engine(served: Server) -> None:
    async with served.client() as client:
        tokens = (await client.post("/solve", json={"problem": PROBLEM, "loop": {**LOOP, "max_tokens": 60}})).json()
        late = (await client.post("/solve", json={"problem": "Count to ten thousand.", "loop": ENDLESS})).json()
    assert 0 < tokens["usage"]["completion_tokens"] <= 60
    assert late["outcome"]["stop"] == "deadline"
    assert late["content"]
    await idle(served)


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/solve", {"problem": "x", "loop": {"drafts": -1}}, 400, "loop.drafts"),
        ("/solve", {"problem": "x", "model": "nobody"}, 404, "model"),
        ("/critique", {"problem": "x"}, 400, "response"),
        ("/critique", {"problem": "x", "response": "y", "model": "nobody"}, 404, "model"),
        ("/v1/chat/completions", {"model": "nobody:loop", "messages": ASK}, 404, "model"),
        ("/v1/chat/completions", {"model": "tiny:loop", "messages": ASK, "loop": {"rounds": 99}}, 400, "loop.rounds"),
        ("/v1/chat/completions", {"model": "tiny:loop", "messages": ASK, "tools": [WEATHER]}, 400, "tools"),
        ("/v1/chat/completions", {"model": "nobody", "messages": ASK}, 404, "model"),
        ("/v1/chat/completions", {"model": "tiny", "messages": ASK, "temperature": -1}, 400, None),
    ],
)
async def test_bad_input_is_named(served: Server, path: str, body: dict[str, Any], status: int, param: str | None) -> None:
    async with served.client() as client:
        reply = await client.post(path, json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, status)
    assert param is None or error["param"] == param
    assert error["message"]


async def test_a_prompt_longer_than_the_context_is_the_requests_fault(served: Server) -> None:
    async with served.client() as client:
        reply = await client.post("/solve", json={"problem": "apple " * 9000, "loop": {"drafts": 1}})
    assert reply.status_code == 400
    assert "8192" in reply.json()["error"]["message"]


async def test_probes_docs_and_series(served: Server) -> None:
    async with served.client(follow_redirects=True) as client:
        assert (await client.get("/health/live")).json() == {"status": "live"}
        assert (await client.get("/health/ready")).json()["models"] == [served.model, "tiny", "other"]
        assert (await client.get("/health")).status_code == 200
        schema = (await client.get("/openapi.json")).json()
        text = (await client.get("/metrics")).text
        docs = (await client.get("/docs")).text
    if served.url == served.engine_url:
        assert not re.search(r"<(script|link rel=.stylesheet.)[^>]*https://", docs), "the docs page must not need the network"
    assert {"/solve", "/critique", "/v1/chat/completions", "/v1/models"} <= set(schema["paths"])
    for name in ("redraft_stage_seconds_bucket", "redraft_stage_tokens_total", "redraft_loops_total", "redraft_loop_drafts_bucket"):
        assert name in text
    if served.url == served.engine_url:
        assert "vllm:num_requests_running" in text
