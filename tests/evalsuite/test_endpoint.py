"""The endpoint against a real socket: retries, Retry-After, and what is not retried."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from aiohttp import web

from evalsuite.endpoint import Endpoint, Patience
from redraft.errors import BadRequest, EngineFailed, EngineTimeout, EngineUnavailable, ModelNotFound, Overloaded
from tests.evalsuite.scripted_server import Body, ScriptedServer, chat, failure, problem_of

QUICK = Patience(timeout_s=5, retries=2, first_wait_s=0.01)
ASK = {"problem": "p"}


async def test_a_retry_waits_as_long_as_retry_after_says() -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(429, "busy", **{"Retry-After": "1"}) if time == 1 else chat(["1"])

    async with ScriptedServer(script) as server, Endpoint(server.base_url, patience=QUICK) as endpoint:
        begun = time.monotonic()
        answered = await endpoint.post("/solve", ASK)
        waited = time.monotonic() - begun
    assert answered.attempts == 2
    assert answered.queue_s >= 1.0, "what was waited before the send that was answered"
    assert answered.queue_s + answered.latency_s <= waited, "the latency is that of the try that succeeded"


async def test_a_request_that_was_due_before_it_could_be_sent_has_queued_since() -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return chat(["1"])

    async with ScriptedServer(script) as server, Endpoint(server.base_url, patience=QUICK) as endpoint:
        late = await endpoint.post("/solve", ASK, due=time.perf_counter() - 60)
        punctual = await endpoint.post("/solve", ASK)
        early = await endpoint.post("/solve", ASK, due=time.perf_counter() + 60)
    assert late.queue_s >= 60 > punctual.queue_s
    assert early.queue_s == 0


@pytest.mark.parametrize("header", ["soon", ""])
async def test_an_unreadable_retry_after_falls_back_to_the_backoff(header: str) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(503, "loading", **{"Retry-After": header}) if time == 1 else chat(["1"])

    async with ScriptedServer(script) as server, Endpoint(server.base_url, patience=QUICK) as endpoint:
        assert (await endpoint.post("/solve", ASK)).attempts == 2


def test_waits_double_up_to_a_ceiling_and_retry_after_has_one_too() -> None:
    patience = Patience(first_wait_s=1, longest_wait_s=5, longest_retry_after_s=60)
    for attempt, ceiling in ((1, 1), (2, 2), (3, 4), (4, 5), (9, 5)):
        assert ceiling / 2 <= patience.wait_s(attempt, None) <= ceiling
    assert patience.wait_s(1, 7) == 7
    assert patience.wait_s(1, 1e9) == 60


async def test_retry_after_may_be_a_date() -> None:
    from evalsuite.endpoint import _retry_after

    assert _retry_after(None) is None
    assert _retry_after("1.5") == 1.5
    assert _retry_after("Wed, 21 Oct 2015 07:28:00 -0000") == 0, "a date without a zone"
    assert 50 < (_retry_after(formatdate(time.time() + 60, usegmt=True)) or 0) <= 60
    assert _retry_after(formatdate(time.time() - 60, usegmt=True)) == 0


@pytest.mark.parametrize(("status", "error"), [(400, BadRequest), (404, ModelNotFound), (422, BadRequest)])
async def test_a_refused_request_is_not_sent_again(status: int, error: type[Exception]) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(status, "max_tokens is too large")

    async with ScriptedServer(script) as server, Endpoint(server.base_url, patience=QUICK) as endpoint:
        with pytest.raises(error, match=f"HTTP {status}: max_tokens is too large"):
            await endpoint.post("/solve", ASK)
    assert server.asked["p"] == 1


@pytest.mark.parametrize(("status", "error"), [(500, EngineFailed), (503, EngineUnavailable)])
async def test_a_failure_is_tried_again_and_then_raised(status: int, error: type[Exception]) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(status)

    async with ScriptedServer(script) as server, Endpoint(server.base_url, patience=QUICK) as endpoint:
        with pytest.raises(error):
            await endpoint.post("/solve", ASK)
    assert server.asked["p"] == 3


async def test_a_full_server_is_asked_again_more_often_than_a_broken_one_but_not_for_ever() -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(429, "full") if time < 8 or problem_of(body) == "never" else chat(["1"])

    patience = Patience(retries=0, first_wait_s=0.001, longest_wait_s=0.01, longest_overload_s=0.2)
    async with ScriptedServer(script) as server, Endpoint(server.base_url, patience=patience) as endpoint:
        assert (await endpoint.post("/solve", ASK)).attempts == 8
        with pytest.raises(Overloaded, match="full"):
            await endpoint.post("/solve", {"problem": "never"})
    assert server.asked["never"] > 8


async def test_a_body_that_is_no_json_object_is_a_failure_of_the_engine() -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return web.Response(text="<html>proxy error</html>" if time == 1 else "[1]")

    async with ScriptedServer(script) as server, Endpoint(server.base_url, patience=Patience(retries=0)) as endpoint:
        for said in ("not JSON", "expected a JSON object, found list"):
            with pytest.raises(EngineFailed, match=said):
                await endpoint.post("/solve", ASK)


async def test_text_that_is_no_unicode_is_made_so_and_what_is_nested_too_deep_is_refused() -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return web.Response(text=r'{"a": "half \ud83d, whole \ud83d\ude00"}' if time == 1 else "[" * 200_000)

    async with ScriptedServer(script) as server, Endpoint(server.base_url, patience=Patience(retries=0)) as endpoint:
        assert (await endpoint.post("/solve", ASK)).body == {"a": "half ?, whole 😀"}
        with pytest.raises(EngineFailed, match="not JSON"):
            await endpoint.post("/solve", ASK)


async def test_a_late_answer_is_a_timeout_and_a_closed_port_unavailable() -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        import asyncio

        await asyncio.sleep(30)
        return chat(["1"])

    impatient = Patience(timeout_s=0.05, retries=0)
    async with ScriptedServer(script) as server:
        async with Endpoint(server.base_url, patience=impatient) as endpoint:
            with pytest.raises(EngineTimeout, match=r"no answer within 0\.05 s"):
                await endpoint.post("/solve", ASK)
        url = server.base_url
    async with Endpoint(url, patience=Patience(retries=0)) as endpoint:
        with pytest.raises(EngineUnavailable):
            await endpoint.post("/solve", ASK)


async def test_the_key_is_sent_and_v1_in_the_url_makes_no_difference() -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return chat(["1"])

    async with ScriptedServer(script) as server:
        for url in (server.base_url, server.base_url + "/v1", server.base_url + "/v1/"):
            async with Endpoint(url, api_key="secret") as endpoint:
                await endpoint.post("/v1/chat/completions", ASK)
    assert server.asked["p"] == 3
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer secret"}
