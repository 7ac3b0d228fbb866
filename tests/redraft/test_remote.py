"""The remote engine against a real socket, well-behaved and not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from redraft.engine import Generation
from redraft.errors import BadRequest, EngineFailed, EngineTimeout, EngineUnavailable, ModelNotFound, Overloaded, RedraftError
from redraft.remote import RemoteEngine
from redraft.scripted import Reply, ScriptedEngine
from tests.openai_server import listening, upstream

ASK = Generation(messages=({"role": "user", "content": "one two"},), model="scripted", max_tokens=50, n=2)
FAULTS: dict[str, Any] = {}


@pytest.fixture
def faults() -> Iterator[dict[str, Any]]:
    FAULTS.clear()
    yield FAULTS
    FAULTS.clear()


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[ScriptedEngine, str]]:
    engine = ScriptedEngine(lambda request: [Reply("a b c", {" right": -0.1}), Reply("d e", {" wrong": -0.2})][: request.n])
    with listening(upstream(engine, FAULTS)) as url:
        yield engine, url


@pytest.fixture
async def remote(behind: tuple[ScriptedEngine, str]) -> AsyncIterator[RemoteEngine]:
    engine = RemoteEngine(behind[1] + "/v1/", read_timeout_s=2.0)
    yield engine
    await engine.aclose()


async def collect(engine: RemoteEngine, request: Generation = ASK) -> tuple[list[str], Any, list[Any]]:
    texts, logprobs = [""] * request.n, []
    async with engine.stream(request) as stream:
        async for chunk in stream:
            texts[chunk.index] += chunk.text
            logprobs += chunk.top_logprobs
    return texts, stream.usage, logprobs


async def test_choices_usage_and_log_probabilities_arrive(remote: RemoteEngine, faults: dict[str, Any]) -> None:
    texts, usage, logprobs = await collect(remote)
    assert texts == ["a b c", "d e"]
    assert (usage.prompt_tokens, usage.completion_tokens, usage.calls) == (2, 5, 1)
    assert logprobs == [{" right": -0.1}, {" wrong": -0.2}]
    assert await remote.models() == ["scripted"]


async def test_leaving_early_stops_the_engine_and_counts_what_was_made(
    remote: RemoteEngine, behind: tuple[ScriptedEngine, str], faults: dict[str, Any]
) -> None:
    faults["hang"] = True
    async with remote.stream(ASK) as stream:
        async for _ in stream:
            break
    assert stream.usage.completion_tokens == 1
    while behind[0].running:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ({"status": 429, "headers": {"Retry-After": "7"}}, Overloaded, "down for repairs"),
        ({"status": 503}, EngineUnavailable, "down for repairs"),
        ({"status": 500}, EngineFailed, "down for repairs"),
        ({"status": 400}, BadRequest, "down for repairs"),
        ({"status": 401}, EngineFailed, "refused this server's key"),
        ({"half": True}, EngineFailed, "broke off"),
        ({"hang": True}, EngineTimeout, "did not answer in time"),
        ({"html": True}, EngineFailed, "text/html"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
async def test_each_fault_is_a_typed_error(
    remote: RemoteEngine, faults: dict[str, Any], fault: dict[str, Any], error: type[RedraftError], says: str
) -> None:
    faults.update(fault)
    with pytest.raises(error, match=says) as raised:
        await collect(remote)
    if error is Overloaded:
        assert raised.value.retry_after_s == 7


async def test_an_unknown_model_is_not_found(remote: RemoteEngine, faults: dict[str, Any]) -> None:
    with pytest.raises(ModelNotFound) as raised:
        await collect(remote, Generation(messages=ASK.messages, model="other", max_tokens=5))
    assert raised.value.param == "model"


async def test_nobody_there_is_unavailable(unused_tcp_port: Callable[..., int]) -> None:
    engine = RemoteEngine(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(EngineUnavailable) as raised:
        await collect(engine)
    assert raised.value.retry_after_s is not None
    with pytest.raises(EngineUnavailable):
        await engine.models()
    await engine.aclose()


async def test_a_shared_client_is_left_open(behind: tuple[ScriptedEngine, str], faults: dict[str, Any]) -> None:
    async with httpx.AsyncClient() as client:
        engine = RemoteEngine(behind[1], client=client)
        await engine.models()
        await engine.aclose()
        assert not client.is_closed
