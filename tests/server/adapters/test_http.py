"""The routes, the names in requests, and the command line, over a real socket and an engine that remembers."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry, generate_latest
from typer.testing import CliRunner

from redraft.scripted import ScriptedEngine
from server import cli, services
from server.adapters.leases import conversation
from server.adapters.parts import Adapters
from server.admission import Admission
from server.app import attach_routes
from server.commands import promote
from server.config import ServeSettings
from server.routes import adapters
from server.telemetry import Telemetry
from tests.conftest import Script
from tests.openai_server import listening
from tests.server.adapters.making import PEFT, Home, ScriptedHost, adapter


class Engine(ScriptedEngine):
    """An engine whose models are the base and what its host loaded."""

    def __init__(self, host: ScriptedHost) -> None:
        super().__init__(Script(["x = 7", "x = 7", "x = 8"]), models=())
        self._host = host

    async def models(self) -> list[str]:
        self._models = ["tiny", *self._host.loaded]
        return self._models


@dataclass
class Running:
    url: str
    home: Home
    host: ScriptedHost
    engine: Engine
    series: CollectorRegistry
    client: httpx.Client

    def source(self, value: float) -> str:
        path = self.home.inbox / f"v{value}"
        return str(path if path.is_dir() else adapter(path, value))

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.client.request(method, path, **more)

    def put(self, name: str, value: float) -> str:
        reply = self.call("POST", "/adapters", json={"name": name, "source": self.source(value)})
        assert reply.status_code == 201, reply.text
        revision: str = reply.json()["revision"]
        return revision


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    home, host, series = Home(tmp_path), ScriptedHost(), CollectorRegistry()
    engine = Engine(host)
    app = FastAPI()
    limits = Admission(running=4, waiting=4)
    settings = ServeSettings.model_construct(**{**dict(ServeSettings()), "critic": "judge"})
    telemetry = Telemetry(limits, series)
    parts = Adapters(home.registry(host, observer=telemetry.adapters), None)
    services.assemble(app.state, settings, engine, catalog_ttl_s=0, telemetry=telemetry, admission=limits, adapters=parts)
    attach_routes(app, settings, bind="127.0.0.1")
    app.include_router(adapters.vllm_router)

    @app.post("/v1/echo", response_model=None)
    async def echo(request: Request) -> StreamingResponse:
        body = await request.body()

        async def pieces() -> Any:
            yield body
            while b'"wait"' in body and not (tmp_path / "go").exists():
                yield b" "
                await asyncio.sleep(0.01)

        return StreamingResponse(pieces())

    with listening(app) as url, httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        yield Running(url, home, host, engine, series, client)


def test_load_swap_look_and_take_away(running: Running) -> None:
    one = running.put("cft", 1)
    shown = running.call("GET", "/adapters/cft").json()
    assert (shown["state"], shown["revision"], shown["canary"], shown["attempt"]) == ("serving", one, None, None)
    assert shown["revisions"][0]["manifest"] == "none"
    assert one == f"cft@{shown['revisions'][0]['sha256'][:12]}"
    two = running.put("cft", 2)
    assert running.call("PUT", "/adapters/cft", json={"rollback": True}).json()["revision"] == one
    assert running.call("PUT", "/adapters/cft", json={"revision": two}).json()["revision"] == two
    assert running.call("PUT", "/adapters/cft", json={"source": running.source(3), "canary": 25}).json()["canary"]["percent"] == 25
    assert running.call("PUT", "/adapters/cft", json={"canary": 50}).json()["canary"]["percent"] == 50
    three = running.call("PUT", "/adapters/cft", json={"promote": True, "why": {"p": 0.01}}).json()["revision"]
    assert three not in {one, two}
    history = running.call("GET", "/adapters/cft").json()["history"]
    assert [entry["action"] for entry in history] == ["promote", "canary", "canary", "swap", "rollback", "swap", "swap"]
    assert history[0]["why"] == {"p": 0.01}
    assert [adapter["name"] for adapter in running.call("GET", "/adapters").json()["data"]] == ["cft"]
    assert running.call("DELETE", "/adapters/cft").json()["deleted"]
    assert running.call("GET", "/adapters/cft").status_code == 404


def test_an_activated_adapter_is_shown_as_one(running: Running) -> None:
    running.put("plain", 1)
    config = PEFT | {"alora_invocation_tokens": [7]}
    assert running.call("POST", "/adapters", json={"name": "cft", "source": running.home.adapter("a", 2, config=config)}).status_code == 201
    shown = {alias: running.call("GET", f"/adapters/{alias}").json()["revisions"][0] for alias in ("plain", "cft")}
    assert {alias: (revision["activated"], revision["fallback"]) for alias, revision in shown.items()} == {
        "plain": (False, None),
        "cft": (True, None),
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("POST", "/adapters", {"name": "x", "source": "../.."}, 400, "adapter_refused"),
        ("POST", "/adapters", {"name": "a/b", "source": "x"}, 400, "adapter_refused"),
        ("POST", "/adapters", {"name": "x"}, 400, "invalid_request_error"),
        ("POST", "/adapters", {"name": "x", "source": "y", "canary": 101}, 400, "invalid_request_error"),
        ("PUT", "/adapters/none", {"rollback": True}, 404, "not_found_error"),
        ("PUT", "/adapters/cft", {"rollback": True}, 409, "conflict_error"),
        ("PUT", "/adapters/cft", {"rollback": True, "promote": True}, 400, "invalid_request_error"),
        ("PUT", "/adapters/cft", {}, 400, "invalid_request_error"),
        ("PUT", "/adapters/cft", {"revision": "0123456789ab"}, 404, "not_found_error"),
        ("DELETE", "/adapters/none", None, 404, "not_found_error"),
        ("POST", "/v1/load_lora_adapter", {"lora_name": "cft", "lora_path": "x"}, 409, "conflict_error"),
        ("POST", "/v1/unload_lora_adapter", {"lora_name": "none"}, 404, "not_found_error"),
    ],
)
def test_refusals(running: Running, method: str, path: str, body: Any, status: int, kind: str) -> None:
    running.put("cft", 1)
    reply = running.call(method, path, json=body)
    assert (reply.status_code, reply.json()["error"]["type"], reply.json()["error"]["code"]) == (status, kind, status)


@pytest.mark.parametrize("body", [b"\xff\xfe\x0c", b"\xc3\x28", b"{", b""])
def test_a_body_that_is_no_json_is_refused_in_our_form(running: Running, body: bytes) -> None:
    reply = running.call("POST", "/adapters", content=body, headers={"content-type": "application/json"})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (400, 400, "invalid_request_error")


def test_vllms_own_routes_go_through_admission(running: Running) -> None:
    bad = adapter(running.home.inbox / "nan", float("nan"))
    refused = running.call("POST", "/v1/load_lora_adapter", json={"lora_name": "cft", "lora_path": str(bad)})
    assert refused.json()["error"]["param"] == "finite"
    assert running.call("POST", "/v1/load_lora_adapter", json={"lora_name": "cft", "lora_path": running.source(1)}).status_code == 200
    swap = {"lora_name": "cft", "lora_path": running.source(2), "load_inplace": True}
    assert running.call("POST", "/v1/load_lora_adapter", json=swap).status_code == 200
    assert running.call("POST", "/v1/unload_lora_adapter", json={"lora_name": "cft"}).status_code == 200


def test_an_alias_works_wherever_a_model_is_named(running: Running) -> None:
    one, judge = running.put("cft", 1), running.put("judge", 2)
    for path in ("/v1/echo", "/v1/echo?x=1"):
        for name, told in (("cft", one), ("cft:loop", f"{one}:loop"), (one, one), ("tiny", "tiny"), ("nobody", "nobody")):
            assert running.call("POST", path, json={"model": name, "critic": "judge"}).json() == {"model": told, "critic": judge}
    solved = running.call("POST", "/solve", json={"problem": "x?", "model": "cft", "loop": {"drafts": 3}}).json()
    assert (solved["model"], solved["critic"]) == (one, judge)
    assert {request.model for request in running.engine.requests} == {one}, "these drafts agree, so no critic is asked"
    assert running.call("POST", "/critique", json={"problem": "x?", "response": "7"}).json()["model"] == judge
    wrong = running.call("POST", "/solve", json={"problem": "x?", "model": "nobody"})
    assert wrong.status_code == 404
    assert "served are tiny, cft, judge" in wrong.json()["error"]["message"]
    assert running.call("GET", "/health/ready").json()["models"] == ["tiny", "cft", "judge"]
    assert 'model="cft"' in generate_latest(running.series).decode()
    assert "cft@" not in generate_latest(running.series).decode(), "a series for each revision would be one for each swap"


def test_bodies_that_are_not_ours_pass_as_they_are(running: Running) -> None:
    running.put("cft", 1)
    for raw in (b"", b"{", b'["model"]', b'{"model": 7}', b'{"model": "tiny",  "x": 1.0}', b'\xff\xfe "model"', b'{"model":' + b"[" * 9999):
        assert running.call("POST", "/v1/echo", content=raw).content == raw
    escaped = running.call("POST", "/v1/echo", content=b'{"\\u006dodel": "cft", "text": "\\ud800"}')
    assert escaped.json()["model"].startswith("cft@")
    assert b"\\ud800" in escaped.content


def test_a_streams_revision_stays_until_its_last_byte(running: Running, tmp_path: Path) -> None:
    one = running.put("cft", 1)
    with running.client.stream("POST", "/v1/echo", json={"model": "cft", "wait": True}) as reply:
        pieces = reply.iter_raw()
        assert json.loads(next(pieces))["model"] == one
        running.put("cft", 2)
        running.put("cft", 3)
        shown = {r["revision"]: r for r in running.call("GET", "/adapters/cft").json()["revisions"]}
        assert (shown[one]["state"], shown[one]["in_flight"]) == ("draining", 1)
        assert one in running.host.loaded
        (tmp_path / "go").touch()
        assert set(b"".join(pieces)) <= {ord(" ")}
    while one in running.host.loaded:
        time.sleep(0.01)


def test_a_client_that_goes_away_gives_its_revision_back(running: Running) -> None:
    one = running.put("cft", 1)
    with running.client.stream("POST", "/v1/echo", json={"model": "cft", "wait": True}) as reply:
        pieces = reply.iter_raw()
        next(pieces)
        running.call("DELETE", "/adapters/cft")
        assert one in running.host.loaded
    while one in running.host.loaded:
        time.sleep(0.01)


def test_a_canary_answers_whole_conversations(running: Running) -> None:
    one = running.put("cft", 1)
    running.call("POST", "/adapters", json={"name": "cft", "source": running.source(2), "canary": 50})
    seen: dict[int, set[str]] = {}
    for person in range(12):
        messages: list[dict[str, str]] = [{"role": "system", "content": "same"}, {"role": "user", "content": f"I am {person}"}]
        for _ in range(3):
            reply = running.call("POST", "/v1/echo", json={"model": "cft", "messages": messages}).json()
            seen.setdefault(person, set()).add(reply["model"])
            messages += [{"role": "assistant", "content": "and?"}, {"role": "user", "content": "more"}]
    assert all(len(revisions) == 1 for revisions in seen.values())
    assert len({*set().union(*seen.values())}) == 2
    assert one in set().union(*seen.values())


def test_what_a_conversation_is() -> None:
    long = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert conversation({"messages": long[:1]}) == conversation({"messages": long}) != conversation({"messages": long[2:]})
    assert conversation({"user": "ann", "messages": long}) == conversation({"user": "ann", "prompt": "x"}) == "ann"
    assert conversation({"problem": "a"}) != conversation({"problem": "b"})
    for odd in ({}, {"messages": "x"}, {"messages": [1, None]}, {"user": 3}, {"metadata": {"conversation_id": 3}}, {"messages": []}):
        assert isinstance(conversation(odd), str)


def test_the_series_and_the_probe(running: Running) -> None:
    running.put("cft", 1)
    running.call("POST", "/adapters", json={"name": "cft", "source": str(adapter(running.home.inbox / "nan", float("nan")))})
    told = {sample.name + str(sorted(sample.labels.values())): sample.value for m in running.series.collect() for sample in m.samples}
    assert told["redraft_adapter_revisions['serving']"] == 1
    assert told["redraft_adapter_revisions['failed']"] == 1
    assert told["redraft_adapter_swaps_total['served']"] == told["redraft_adapter_swaps_total['refused']"] == 1
    assert told["redraft_adapter_refusals_total['finite']"] == 1
    assert told["redraft_adapters_converged[]"] == 1
    probe = running.call("GET", "/health/ready").json()
    assert probe["adapters"]["converged"] is True
    assert set(probe["adapters"]["serving"]) == {"cft"}


def test_the_command_line(running: Running) -> None:
    def run(*words: str, exit_code: int = 0) -> str:
        done = CliRunner().invoke(cli.app, [*words, "--server", running.url])
        assert done.exit_code == exit_code, done.output
        return done.output

    assert "cft serves cft@" in run("adapters", "add", "cft", running.source(1))
    assert "canary cft@" in run("adapters", "swap", "cft", running.source(2), "--canary", "10")
    assert "cft serves cft@" in run("adapters", "rollback", "cft")
    assert "serving" in run("adapters", "ls")
    assert json.loads(run("adapters", "ls", "--json"))["data"][0]["name"] == "cft"
    assert "taken away" in run("adapters", "rm", "cft")
    shutil.rmtree(running.source(1))
    run("adapters", "add", "cft", running.source(4) + "/absent", exit_code=1)


def compared(only_a: int, only_b: int, p: float) -> dict[str, Any]:
    return {"mcnemar": {"only_a_right": only_a, "only_b_right": only_b, "p": p}, "difference": {}, "problems": 9}


@pytest.mark.parametrize(
    ("only_a", "only_b", "p", "better"), [(1, 12, 0.003, True), (12, 1, 0.003, False), (1, 5, 0.2, False), (0, 0, 1.0, False)]
)
def test_promotion_asks_for_a_measured_win(
    running: Running, monkeypatch: pytest.MonkeyPatch, only_a: int, only_b: int, p: float, better: bool
) -> None:
    one = running.put("cft", 1)
    asked: list[tuple[str, ...]] = []

    def evalsuite(*arguments: str) -> str:
        asked.append(arguments)
        return json.dumps(compared(only_a, only_b, p))

    monkeypatch.setattr(promote, "_evalsuite", evalsuite)
    words = ["promote", "cft", "--task", "arith", "--source", running.source(2), "--server", running.url, "--limit", "50"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == (0 if better else promote.NOT_BETTER), done.output
    shown = running.call("GET", "/adapters/cft").json()
    assert (shown["revision"] != one) is better
    assert [arguments[0] for arguments in asked] == ["run", "run", "compare"]
    assert all(arguments[-2:] == ("--limit", "50") for arguments in asked[:2])
    assert {arguments[arguments.index("--model") + 1] for arguments in asked[:2]} == {one, *(r["revision"] for r in shown["revisions"])}
    if better:
        assert shown["history"][0]["why"]["mcnemar"]["p"] == p
    else:
        assert shown["canary"]["percent"] == 0


def test_over_a_remote_engine_there_are_none(running: Running) -> None:
    from server.app import standalone

    settings = ServeSettings.model_construct(**{**dict(ServeSettings()), "engine_url": running.url})
    with listening(standalone(settings)) as url:
        for method, path in (("GET", "/adapters"), ("DELETE", "/adapters/x")):
            reply = httpx.request(method, url + path, trust_env=False)
            assert (reply.status_code, reply.json()["error"]["type"]) == (501, "not_supported_error")
        passed = httpx.post(f"{url}/v1/load_lora_adapter", json={"lora_name": "cft", "lora_path": running.source(1)}, trust_env=False)
        assert passed.status_code == 200, "vLLM's own route is the engine's"
