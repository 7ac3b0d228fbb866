from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from redraft.errors import EngineFailed
from redraft.scripted import Reply
from redraft.types import Stage
from server.admission import Admission
from server.config import CalibrationSetting, Limits
from server.guard.auth import ApiKeys
from server.keys.ring import Keyring
from server.telemetry import Telemetry
from tests.conftest import Script, stage_of, verdict
from tests.server.conftest import Serve, Served

DRAFTS = [r"two and two: \boxed{4}", r"so \boxed{5}", r"I get \boxed{4.0} here"]


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ") and line != "data: [DONE]"]


async def post(served: Served, path: str, body: Any, **more: Any) -> Any:
    async with served.client(**more) as client:
        return await client.post(path, json=body)


async def test_a_problem_is_solved_with_its_transcript(serve: Serve) -> None:
    served = serve(Script(DRAFTS, critic=verdict(0.2), reviser=lambda r: [Reply(r"\boxed{4}")]))
    reply = await post(served, "/solve", {"problem": "2+2?", "loop": {"critique": "always"}})
    body = reply.json()
    assert reply.status_code == 200
    assert (body["answer"], body["content"], body["model"], body["critic"]) == ("4", DRAFTS[0], "scripted", "scripted")
    assert body["outcome"]["critic"] == "uncalibrated"
    assert [c["members"] for c in body["outcome"]["candidates"]] == [[0, 2, 3, 4], [1]]
    assert [step["stage"] for step in body["transcript"]] == ["solve"] * 3 + ["critique"] * 2 + ["revise"] * 2
    usage = body["usage"]
    assert usage["completion_tokens"] == sum(stage["completion_tokens"] for stage in usage["loop"].values())
    assert usage["loop"]["critique"]["calls"] == 4
    assert body["timing"]["wall_s"] >= body["timing"]["ttft_s"] > 0


async def test_a_critic_that_nobody_has_measured_is_not_asked(serve: Serve) -> None:
    served = serve(Script(DRAFTS, critic=verdict(0.2)))
    body = (await post(served, "/solve", {"problem": "2+2?"})).json()
    assert body["answer"] == "4"
    assert (body["outcome"]["critic"], body["outcome"]["stop"]) == ("uncalibrated", "settled")
    assert body["usage"]["loop"]["critique"]["calls"] == 0


@pytest.mark.parametrize(("tpr", "says", "critiques"), [(0.9, "calibrated", 2), (0.3, "below_break_even", 0)])
async def test_a_measured_critic_is_asked_where_it_pays(serve: Serve, tpr: float, says: str, critiques: int) -> None:
    known = {"scripted": CalibrationSetting(tpr=tpr, fpr=0.2, n=100)}
    served = serve(Script(DRAFTS, critic=verdict(0.2)), calibrations=known)
    body = (await post(served, "/solve", {"problem": "2+2?"})).json()
    assert body["outcome"]["critic"] == says
    assert sum(step["stage"] == "critique" for step in body["transcript"]) == critiques


async def test_the_stream_ends_in_the_same_result(serve: Serve) -> None:
    served = serve(Script(DRAFTS, critic=verdict(0.9)))
    ask = {"problem": "2+2?", "loop": {"critique": "always"}}
    whole = (await post(served, "/solve", ask)).json()
    reply = await post(served, "/solve", {**ask, "stream": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.endswith("data: [DONE]\n\n")
    *steps, result = events(reply.text)
    assert result["type"] == "result"
    for field in ("answer", "content", "outcome", "transcript", "usage"):
        assert result[field] == whole[field]
    text = "".join(e["text"] for e in steps if e["type"] == "step.text" and e["stage"] == "solve" and e["index"] == 1)
    assert text == DRAFTS[1]
    assert {e["type"] for e in steps} == {"step.started", "step.text", "step.ended", "vote"}


async def test_the_named_critic_judges_and_its_calibration_counts(serve: Serve) -> None:
    likes_five = lambda request: verdict(0.99 if "boxed{5}" in request.messages[0]["content"] else 0.01)(request)  # noqa: E731
    served = serve(Script(DRAFTS, critic=likes_five), calibrations={"critic": CalibrationSetting(tpr=0.95, fpr=0.05, n=500)})
    body = (await post(served, "/solve", {"problem": "2+2?", "critic": "critic"})).json()
    assert (body["answer"], body["outcome"]["critic"], body["critic"]) == ("5", "calibrated", "critic")
    assert {r.model for r in served.engine.requests if stage_of(r) is Stage.CRITIQUE} == {"critic"}
    assert (await post(served, "/solve", {"problem": "2+2?"})).json()["answer"] == "4"


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({}, None, "give either `problem` or `messages`"),
        ({"problem": "x", "messages": [{"role": "user", "content": "x"}]}, None, "give either"),
        ({"problem": ""}, "problem", "at least 1 character"),
        ({"problem": "x", "loop": {"drafts": 0}}, "loop.drafts", "greater than or equal to 1"),
        ({"problem": "x", "loop": {"drafts": 999}}, "loop.drafts", "this server allows 64"),
        ({"problem": "x", "loop": {"temperature": 0}}, "loop.temperature", "above 0"),
        ({"problem": "x", "loop": {"deadline_s": -1}}, "loop.deadline_s", "greater than 0"),
        ({"problem": "x", "loop": {"draft": 3}}, "loop.draft", "not permitted"),
        ({"problem": "x", "temperature": 1}, "temperature", "not permitted"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages.0.content", ""),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages", "must come from the user"),
    ],
)
async def test_a_bad_field_is_named(serve: Serve, body: dict[str, Any], param: str | None, says: str) -> None:
    reply = await post(serve(Script(DRAFTS)), "/solve", body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (400, 400, "invalid_request_error")
    assert says in error["message"]
    assert param is None or error["param"].startswith(param)


async def test_what_is_not_json_is_said_so(serve: Serve) -> None:
    async with serve(Script(DRAFTS)).client() as client:
        reply = await client.post("/solve", content=b'{"problem": ', headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert "not JSON" in reply.json()["error"]["message"]


@pytest.mark.parametrize("field", ["model", "critic"])
async def test_an_unknown_model_is_404(serve: Serve, field: str) -> None:
    reply = await post(serve(Script(DRAFTS)), "/solve", {"problem": "x", field: "nobody"})
    assert reply.status_code == 404
    assert reply.json()["error"]["param"] == field


async def test_keys_are_asked_for_everywhere_but_at_the_probes(serve: Serve) -> None:
    served = serve(Script(DRAFTS), api_key=["sesame"])
    for path in ("/solve", "/critique", "/v1/chat/completions"):
        assert (await post(served, path, {"problem": "x"})).status_code == 401
        assert (await post(served, path, {"problem": "x"}, headers={"Authorization": "Bearer wrong"})).status_code == 401
    async with served.client() as client:
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/metrics/")).status_code == 401
        assert (await client.get("/health/ready")).status_code == 200
    body = (await post(served, "/solve", {"problem": "x"}, headers={"Authorization": "Bearer sesame"})).json()
    assert body["answer"] == "4"


async def test_a_large_body_is_413_announced_or_not(serve: Serve) -> None:
    served = serve(Script(DRAFTS), limits=Limits(body_bytes=2048))
    assert (await post(served, "/solve", {"problem": "x" * 3000})).status_code == 413

    async def pieces() -> Any:
        for _ in range(30):
            yield b"x" * 100

    async with served.client() as client:
        reply = await client.post("/solve", content=pieces())
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "request_too_large")


async def test_a_full_queue_is_429_with_retry_after(serve: Serve) -> None:
    slow = [Reply("word " * 1000, delay_s=0.01)] * 3
    served = serve(Script(slow), limits=Limits(loops=1, waiting=1))
    async with served.client() as client:
        tasks = [asyncio.create_task(client.post("/solve", json={"problem": "x", "loop": {"max_tokens": 90}})) for _ in range(3)]
        replies = await asyncio.gather(*tasks)
    assert sorted(r.status_code for r in replies) == [200, 200, 429]
    refused = next(r for r in replies if r.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("path", ["/solve", "/critique", "/v1/chat/completions"])
async def test_a_client_that_goes_away_stops_all_work(serve: Serve, path: str, streamed: bool) -> None:
    slow = [Reply("word " * 2000, delay_s=0.01)] * 3
    served = serve(Script(slow, critic=lambda request: slow[:1]))
    body: dict[str, Any] = {"problem": "x", "stream": streamed}
    if path == "/critique":
        body["response"] = "y"
    if path == "/v1/chat/completions":
        body = {"model": "scripted:loop", "messages": [{"role": "user", "content": "x"}], "stream": streamed}
    async with served.client() as client:
        task = asyncio.create_task(client.post(path, json=body))
        while not served.engine.running:
            await asyncio.sleep(0.01)
        task.cancel()
    async with asyncio.timeout(60):
        while served.engine.running:
            await asyncio.sleep(0.01)


async def test_an_engine_that_is_gone_is_503_and_not_ready(serve: Serve) -> None:
    served = serve(Script(DRAFTS))
    served.faults["status"] = 503
    async with served.client() as client:
        assert (await client.get("/health/live")).status_code == 200
        ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
    reply = await post(served, "/solve", {"problem": "x"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "service_unavailable")


async def test_an_error_in_a_stream_that_has_begun_is_an_error_event(serve: Serve) -> None:
    served = serve(Script([Reply("one two three", error=EngineFailed("gone"), delay_s=0.1)] * 3))
    reply = await post(served, "/solve", {"problem": "x", "stream": True})
    assert reply.status_code == 200
    assert events(reply.text)[-1]["error"]["code"] == 502


@pytest.mark.parametrize("path", ["/solve", "/critique", "/v1/chat/completions"])
async def test_what_is_refused_at_once_has_its_status_also_when_streamed(serve: Serve, path: str) -> None:
    served = serve(Script([Reply("word " * 500, delay_s=0.01)] * 3), limits=Limits(loops=1, waiting=0))
    bodies: dict[str, dict[str, Any]] = {
        "/solve": {"problem": "x", "stream": True},
        "/critique": {"problem": "x", "response": "y", "stream": True},
        "/v1/chat/completions": {"model": "scripted:loop", "messages": [{"role": "user", "content": "x"}], "stream": True},
    }
    await post(served, "/health/live", {})
    async with served.client() as client:
        await client.get("/health/ready")
        served.faults["status"] = 400
        refused = await client.post(path, json=bodies[path])
        assert (refused.status_code, refused.json()["error"]["message"]) == (400, "down for repairs")
        served.faults.clear()
        first = asyncio.create_task(client.post("/solve", json={"problem": "x", "loop": {"deadline_s": 2}}))
        while not served.engine.running:
            await asyncio.sleep(0.01)
        full = await client.post(path, json=bodies[path])
        assert (full.status_code, full.headers.get("retry-after")) == (429, "2")
        assert (await first).status_code == 200


@pytest.mark.parametrize("path", ["/v1/%2e%2e/sleep", "/v1/../sleep", "/v1/a/%2e%2e/%2e%2e/pause", "/nowhere"])
async def test_no_path_leads_out_of_the_api(serve: Serve, path: str) -> None:
    served = serve(Script(DRAFTS))
    async with served.client() as client:
        reply = await client.post(path, json={})
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == 404


async def test_odd_input_is_the_requests_fault(serve: Serve) -> None:
    served = serve(Script(DRAFTS))
    plain = {"content-type": "application/json"}
    async with served.client() as client:
        deep = await client.post("/v1/chat/completions", content=b"[" * 100_000, headers=plain)
        lone = await client.post("/solve", content=b'{"problem": "\\ud800"}', headers=plain)
        named = await client.post("/solve", content=b'{"problem": "x", "model": "\\ud800"}', headers=plain)
        header = await client.post("/v1/embeddings", content=b"{}", headers={b"x-odd": "é".encode("latin-1")})
    assert (deep.status_code, lone.status_code, named.status_code, header.status_code) == (400, 400, 404, 404)
    assert lone.json()["error"]["param"] == "problem"


async def test_a_body_is_bounded_whatever_the_method(serve: Serve) -> None:
    served = serve(Script(DRAFTS), limits=Limits(body_bytes=2048))
    async with served.client() as client:
        assert (await client.request("GET", "/v1/files", content=b"x" * 5000)).status_code == 413


async def test_a_websocket_needs_a_key_too(tmp_path: Path) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent.append("let in")

    async def send(message: Any) -> None:
        sent.append(message["type"])

    served = FastAPI()
    served.state.redraft = SimpleNamespace(telemetry=Telemetry(Admission(running=1, waiting=1), registry := CollectorRegistry()))
    guard, ask = ApiKeys(app, Keyring(["sesame"], tmp_path / "none")), {"type": "websocket", "path": "/v1/realtime", "app": served}
    await guard({**ask, "headers": []}, None, send)  # type: ignore[arg-type]
    await guard({**ask, "headers": [(b"authorization", b"Bearer sesame")]}, None, send)  # type: ignore[arg-type]
    assert sent == ["websocket.close", "let in"]
    assert registry.get_sample_value("redraft_turned_away_total", {"type": "authentication_error"}) == 1


async def test_a_loop_whose_client_left_is_counted(serve: Serve) -> None:
    served = serve(Script([Reply("word " * 2000, delay_s=0.01)] * 3))
    async with served.client() as client:
        task = asyncio.create_task(client.post("/solve", json={"problem": "x"}))
        while not served.engine.running:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
    async with asyncio.timeout(60), served.client(follow_redirects=True) as client:
        while 'redraft_stage_seconds_count{model="scripted",stage="solve",track="stable"} 2.0' not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.02)


async def test_a_silent_stream_gets_comments(serve: Serve) -> None:
    served = serve(Script([Reply("one two three", delay_s=0.3)] * 3), keep_alive_s=0.1)
    reply = await post(served, "/solve", {"problem": "x", "stream": True, "loop": {"rounds": 0}})
    assert ": keep-alive\n\n" in reply.text


async def test_series_of_the_loop_are_exposed(serve: Serve) -> None:
    served = serve(Script(DRAFTS, critic=verdict(0.9)))
    await post(served, "/solve", {"problem": "x", "loop": {"critique": "always"}})
    await post(served, "/solve", {"problem": "x", "model": "junk" * 10})
    async with served.client(follow_redirects=True) as client:
        text = (await client.get("/metrics")).text
    assert 'redraft_stage_seconds_count{model="scripted",stage="critique",track="stable"} 2.0' in text
    assert 'redraft_loops_total{critic="uncalibrated",stop="rounds"} 1.0' in text
    assert 'redraft_verdicts_total{critic="scripted",track="stable",verdict="correct"} 2.0' in text
    assert 'redraft_stage_tokens_total{kind="generated",model="scripted",stage="solve"}' in text
    assert "junk" not in text
