"""The guards of a whole server: who comes in where, how often, with what; over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from redraft.errors import BadRequest
from redraft.scripted import Reply
from server import config
from server.config import GuardSettings, Limits, ServeSettings
from server.guard import gates, hosts
from server.guard.usage import Counted
from server.keys import key as keys
from server.keys import ring as rings
from server.keys import routes
from server.keys.key import Key, KeyLimits, Scope
from server.keys.store import KeyFile
from tests.conftest import Script, verdict
from tests.server.conftest import Serve, Served

DRAFTS = [r"two and two: \boxed{4}", r"so \boxed{5}", r"I get \boxed{4.0} here"]
SOLVE = {"problem": "2+2?"}
CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "hello"}]}


def add(file: Path, *scopes: Scope, **more: Any) -> str:
    """A new key in the file; its secret."""
    identity, secret = keys.new_secret()
    KeyFile(file).add(Key(identity, "test", keys.digest(secret), frozenset(scopes), **more))
    return secret


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def post(served: Served, path: str, body: Any, secret: str, **headers: str) -> httpx.Response:
    async with served.client() as client:
        return await client.post(path, json=body, headers=bearer(secret) | headers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite"


# Scopes ---------------------------------------------------------------------------------------------------------------------------

NEEDED = {
    ("POST", "/solve"): Scope.INFER,
    ("POST", "/critique"): Scope.INFER,
    ("POST", "/v1/chat/completions"): Scope.INFER,
    ("GET", "/v1/models"): Scope.INFER,
    ("GET", "/docs"): Scope.INFER,
    ("GET", "/openapi.json"): Scope.INFER,
    ("GET", "/adapters"): Scope.EVAL,
    ("GET", "/adapters/{adapter_name}"): Scope.EVAL,
    ("GET", "/metrics"): Scope.METRICS,
    ("POST", "/adapters"): Scope.ADMIN,
    ("PUT", "/adapters/{adapter_name}"): Scope.ADMIN,
    ("DELETE", "/adapters/{adapter_name}"): Scope.ADMIN,
    ("POST", "/v1/load_lora_adapter"): Scope.ADMIN,
    ("DELETE", "/v1/files/x"): Scope.ADMIN,
    ("POST", "/sleep"): Scope.ADMIN,
    ("POST", "/nowhere"): Scope.ADMIN,
    ("PATCH", "/solve"): Scope.ADMIN,
}
"""By hand, and not by the table that is under test."""
PROBES = {("GET", "/health"), ("GET", "/health/live"), ("GET", "/health/ready")}


async def test_every_route_by_every_scope(serve: Serve, file: Path) -> None:
    secrets = {scope: add(file, scope) for scope in Scope}
    served = serve(Script(DRAFTS))
    async with served.client() as client:
        schema = (await client.get("/openapi.json", headers=bearer(secrets[Scope.INFER]))).json()
        told = {(method.upper(), path) for path, operations in schema["paths"].items() for method in operations}
        assert told <= NEEDED.keys() | PROBES
        assert len(told) > 8
        for (method, path), needed in NEEDED.items():
            nobody = await client.request(method, path, json={})
            assert (nobody.status_code, nobody.json()["error"]["type"]) == (401, "authentication_error"), path
            for scope, secret in secrets.items():
                reply = await client.request(method, path, json={}, headers=bearer(secret))
                may = needed in keys.IMPLIED[scope]
                assert (reply.status_code in {401, 403}) != may, f"{method} {path} with {scope}: {reply.status_code}"
                if not may:
                    error = reply.json()["error"]
                    assert (error["code"], error["type"]) == (403, "permission_error")
                    assert f"scope `{needed}`" in error["message"]
        for _, path in PROBES:
            assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/responses/../../sleep"),
        ("GET", "/v1/responses/a/b"),
        ("GET", "/adapters/a/b"),
        ("PUT", "/v1/models"),
        ("POST", "/metrics"),
        ("GET", "/solve/"),
        ("POST", "//solve"),
        ("POST", "/solve\n"),
        ("GET", "/adapters/a\n/x"),
        ("WEBSOCKET", "/v1/realtime"),
        ("POST", "/invocations"),
        ("POST", "/collective_rpc"),
        ("POST", "/v1/load_lora_adapter"),
    ],
)
def test_what_is_not_listed_needs_admin(method: str, path: str) -> None:
    assert routes.needed(method, path) is Scope.ADMIN


def test_head_is_get() -> None:
    assert routes.needed("HEAD", "/metrics") is Scope.METRICS


async def test_keys_that_open_nothing_say_why(serve: Serve, file: Path) -> None:
    expired, revoked = add(file, Scope.ADMIN, expires=1.0), add(file, Scope.ADMIN, revoked=1.0)
    served = serve(Script(DRAFTS))
    said = [(await post(served, "/solve", SOLVE, secret)) for secret in (expired, revoked, "rd-0123456789ab-x", "?", "a b c")]
    assert [reply.status_code for reply in said] == [401] * 5
    assert "expired" in said[0].text
    assert "revoked" in said[1].text
    async with served.client() as client:
        assert (await client.get("/metrics", headers={"Authorization": f"Basic {expired}"})).status_code == 401


async def test_a_running_server_follows_the_key_file(serve: Serve, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rings, "LOOK_S", 0.0)
    served = serve(Script(DRAFTS))
    async with served.client() as client:
        assert (await client.get("/v1/models")).status_code == 200
        secret = add(file, Scope.INFER)
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/models", headers=bearer(secret))).status_code == 200
        KeyFile(file).revoke(KeyFile(file).read()[0].id)
        assert (await client.get("/v1/models", headers=bearer(secret))).status_code == 401


# What a key may ask for ---------------------------------------------------------------------------------------------------------------


async def test_requests_a_minute(serve: Serve, file: Path) -> None:
    few, many = add(file, Scope.INFER, limits=KeyLimits(requests=2)), add(file, Scope.INFER)
    served = serve(Script(DRAFTS))
    async with served.client() as client:
        replies = [await client.get("/v1/models", headers=bearer(few)) for _ in range(3)]
        assert [reply.status_code for reply in replies] == [200, 200, 429]
        assert replies[2].json()["error"]["type"] == "rate_limit_error"
        assert 1 <= int(replies[2].headers["retry-after"]) <= 30
        assert (await client.get("/v1/models", headers=bearer(many))).status_code == 200


@pytest.mark.parametrize("streamed", [False, True])
async def test_tokens_a_minute_are_those_of_the_reply(serve: Serve, file: Path, streamed: bool) -> None:
    secret = add(file, Scope.INFER, limits=KeyLimits(tokens=20))
    served = serve(Script(DRAFTS, critic=verdict(0.9)))
    first = await post(served, "/solve", {**SOLVE, "stream": streamed}, secret)
    assert first.status_code == 200
    again = await post(served, "/solve", SOLVE, secret)
    assert (again.status_code, again.json()["error"]["type"]) == (429, "rate_limit_error")
    total = json.loads(first.text.split("event: result\ndata: ")[1].split("\n")[0]) if streamed else first.json()
    owed = total["usage"]["total_tokens"] - 20
    assert owed > 0
    assert owed * 3 - 3 <= int(again.headers["retry-after"]) <= owed * 3 + 6


async def test_loops_at_once(serve: Serve, file: Path) -> None:
    secret, other = add(file, Scope.INFER, limits=KeyLimits(parallel=1)), add(file, Scope.INFER)
    served = serve(Script([Reply("word " * 1000, delay_s=0.01)] * 3))
    body = {**SOLVE, "loop": {"deadline_s": 2.0}}
    first = asyncio.create_task(post(served, "/solve", body, secret))
    while not served.engine.running:
        await asyncio.sleep(0.01)
    looped = {**CHAT, "model": "scripted:loop"}
    assert [
        (await post(served, path, body, secret)).status_code for path, body in (("/solve", SOLVE), ("/v1/chat/completions", looped))
    ] == [429, 429]
    assert (await post(served, "/v1/chat/completions", CHAT, secret)).status_code == 200
    assert (await post(served, "/critique", {"problem": "x"}, other)).status_code == 400
    assert (await first).status_code == 200
    assert (await post(served, "/solve", {**SOLVE, "loop": {"deadline_s": 0.1}}, secret)).status_code != 429


async def test_a_list_of_models(serve: Serve, file: Path) -> None:
    secret = add(file, Scope.EVAL, models=frozenset({"scripted"}))
    served = serve(Script(DRAFTS))
    solve = {**SOLVE, "model": "scripted"}
    assert (await post(served, "/solve", solve, secret)).status_code == 200
    assert (await post(served, "/v1/chat/completions", {**CHAT, "model": "scripted:loop"}, secret)).status_code == 200
    for path, body, param in (
        ("/solve", SOLVE, "model"),
        ("/solve", {**solve, "critic": "critic"}, "critic"),
        ("/v1/chat/completions", {**CHAT, "model": "critic:loop"}, "model"),
        ("/v1/chat/completions", {**CHAT, "model": None}, "model"),
        ("/v1/embeddings", {"model": "critic", "input": "x"}, "model"),
    ):
        reply = await post(served, path, body, secret)
        assert (reply.status_code, reply.json()["error"]["param"]) == (403, param), path
        assert "`scripted`" in reply.json()["error"]["message"]
    async with served.client() as client:
        odd = await client.post(
            "/v1/chat/completions", content=json.dumps({**CHAT, "model": "critic"}).encode("utf-16"), headers=bearer(secret)
        )
    assert odd.status_code == 403, "a body in another encoding is read as the routes read it"


# The salt -----------------------------------------------------------------------------------------------------------------------------


def salts(served: Served) -> set[Any]:
    return {(request.extra or {}).get("cache_salt") for request in served.engine.requests}


async def test_each_key_has_a_prefix_cache_of_its_own(serve: Serve, file: Path) -> None:
    one, two = add(file, Scope.INFER), add(file, Scope.INFER)
    served = serve(Script(DRAFTS))
    echoes = [(await post(served, "/v1/chat/completions", CHAT, secret)).json()["echo"] for secret in (one, two, one)]
    found = [echo.pop("cache_salt") for echo in echoes]
    assert found[0] == found[2] != found[1]
    assert echoes == [CHAT] * 3
    own = (await post(served, "/v1/chat/completions", {"cache_salt": found[1], **CHAT}, one)).json()["echo"]["cache_salt"]
    assert own not in found, "a client that brings another key's salt gets none of its cache"
    await post(served, "/solve", {**SOLVE, "loop": {"rounds": 0}}, one)
    await post(served, "/critique", {"problem": "x", "response": "y"}, one)
    await post(served, "/v1/chat/completions", {**CHAT, "model": "scripted:loop"}, one)
    assert salts(served) == {found[0]}


@pytest.mark.parametrize("why", ["one key", "turned off", "no key"])
async def test_there_is_no_salt_where_none_is_needed(serve: Serve, file: Path, why: str) -> None:
    secrets = ["none"] if why == "no key" else [add(file, Scope.INFER) for _ in range(2 if why == "turned off" else 1)]
    served = serve(Script(DRAFTS), guard=GuardSettings(keys_file=file, cache_salt=why != "turned off"))
    assert (await post(served, "/v1/chat/completions", CHAT, secrets[0])).json()["echo"] == CHAT
    await post(served, "/solve", SOLVE, secrets[0])
    assert salts(served) == {None}


# Bodies -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/anything"])
async def test_caps_hold_on_the_engines_own_routes(serve: Serve, path: str) -> None:
    served = serve(Script(DRAFTS))
    for field, value in (("chat_template", "{{ 1 }}"), ("n", 65), ("kv_transfer_params", {"remote_host": "x"})):
        reply = await post(served, path, {**CHAT, field: value}, "none")
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, field)
    picture = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
    reply = await post(served, path, {**CHAT, "messages": [{"role": "user", "content": [picture]}]}, "none")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages.0.content")
    assert served.engine.requests == []


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b'"text"', b"{", b"[" * 100_000, b'{"n": ' + b"9" * 5000 + b"}", b"\xff\xfe\x00"])
async def test_a_body_that_is_no_object_is_refused(serve: Serve, body: bytes) -> None:
    served = serve(Script(DRAFTS))
    async with served.client() as client:
        for path in ("/v1/chat/completions", "/v1/completions", "/solve"):
            reply = await client.post(path, content=body, headers={"content-type": "application/json"})
            assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_a_longer_deadline_than_the_servers_is_refused(serve: Serve) -> None:
    served = serve(Script(DRAFTS), limits=Limits(deadline_s=5))
    reply = await post(served, "/solve", {**SOLVE, "loop": {"deadline_s": 6}}, "none")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "loop.deadline_s")


# Names --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "LOCALHOST."}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "evil.example:127"}, 403),
        ({"Host": "[evil"}, 403),
        ({"Host": "evil@127.0.0.1:80@evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "named.example", "Origin": "https://named.example"}, 200),
    ],
)
async def test_a_loopback_server_answers_to_its_own_names(serve: Serve, headers: dict[str, str], status: int) -> None:
    served = serve(Script(DRAFTS), guard=GuardSettings(hosts=["Named.Example"]))
    async with served.client() as client:
        for path in ("/v1/models", "/health/live", "/"):
            assert (await client.get(path, headers=headers)).status_code == status


async def test_a_public_server_takes_any_name_unless_some_are_set(serve: Serve) -> None:
    for names, status in (([], 200), (["api.example"], 403)):
        served = serve(Script(DRAFTS), host="0.0.0.0", api_key=["k"], guard=GuardSettings(hosts=names))
        async with served.client() as client:
            reply = await client.get("/v1/models", headers={"Host": "whatever.example", **bearer("k")})
            assert reply.status_code == status


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("localhost", False),
        ("unix:/run/redraft.sock", False),
        ("0.0.0.0", True),
        ("::", True),
        ("", True),
        (None, True),
        ("10.0.0.5", True),
        ("redraft.example", True),
        ("::ffff:10.0.0.5", True),
    ],
)
def test_what_is_public(host: str | None, public: bool) -> None:
    assert hosts.is_public(host) is public


def test_a_public_bind_needs_a_key_or_a_word(tmp_path: Path) -> None:
    def settings(**more: Any) -> ServeSettings:
        return ServeSettings(guard=GuardSettings(keys_file=tmp_path / "keys.sqlite", **more))

    with pytest.raises(BadRequest, match="redraft keys create"):
        gates.keyring(settings(), bind="0.0.0.0")
    assert not gates.keyring(settings(), bind="127.0.0.1").is_asked
    assert not gates.keyring(settings(public_without_keys=True), bind="0.0.0.0").is_asked
    add(tmp_path / "keys.sqlite", Scope.INFER)
    ring = gates.keyring(settings(), bind="0.0.0.0")
    (tmp_path / "keys.sqlite").unlink()
    ring._next_look = 0
    assert ring.is_asked, "a public server stays shut when its key file goes away"


def test_secrets_are_not_in_the_settings_text() -> None:
    text = repr(ServeSettings(api_key=["canary-1"], engine_api_key="canary-2"))
    assert "canary" not in text
    with pytest.raises(BadRequest) as error:
        config.load(None, {"api_key": [["canary-3"]]})
    assert "canary" not in error.value.message


# How a reply's tokens are read ----------------------------------------------------------------------------------------------------------


@contextmanager
def told(*pieces: bytes, kind: bytes = b"application/json", status: int = 200) -> Iterator[Counted]:
    async def send(message: Any) -> None:
        pass

    counted = Counted(send)

    async def play() -> None:
        await counted({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        for piece in pieces:
            await counted({"type": "http.response.body", "body": piece})

    asyncio.run(play())
    yield counted


@pytest.mark.parametrize(
    ("pieces", "more", "tokens"),
    [
        ((b'{"usage": {"prompt_tokens": 3, "total_tokens": 9, "completion_tokens": 6}}',), {}, 9),
        ((b'{"usa', b'ge":{"total_to', b'kens":12}}'), {}, 12),
        ((b'{"usage":{"input_tokens":4,"output_tokens":5}}',), {}, 9),
        ((b'{"content":"\\"usage\\":{\\"total_tokens\\":1}","usage":{"total_tokens":7}}',), {}, 7),
        ((b'{"content":"\\"usage\\":{\\"total_tokens\\":1}"}',), {}, 100),
        ((b"{}",), {"status": 400}, 0),
        ((b"data: {}\n\ndata: {}\n\n", b"data: [DONE]\n\n"), {"kind": b"text/event-stream; charset=utf-8"}, 3),
        ((b'data: {"usage":{"total_tokens":2}}\n\n', b'data: {"usage":{"total_tokens":5}}\n\n'), {"kind": b"text/event-stream"}, 5),
        ((), {}, 100),
    ],
)
def test_tokens_of_a_reply(pieces: tuple[bytes, ...], more: dict[str, Any], tokens: int) -> None:
    with told(*pieces, **more) as counted:
        assert counted.tokens(reserved=100) == tokens


async def test_who_is_turned_away_is_counted_by_type_alone(serve: Serve, file: Path) -> None:
    reader = add(file, Scope.METRICS)
    served = serve(Script(DRAFTS))
    async with served.client() as client:
        for number in range(5):
            assert (await client.post("/solve", json=SOLVE, headers=bearer(f"junk{number}"))).status_code == 401
            assert (await client.get(f"/nothing/{number}", headers=bearer(reader))).status_code == 403
        text = (await client.get("/metrics", headers=bearer(reader))).text
    counted = {line for line in text.splitlines() if line.startswith("redraft_turned_away_total")}
    assert {
        'redraft_turned_away_total{type="authentication_error"} 5.0',
        'redraft_turned_away_total{type="permission_error"} 5.0',
    } <= counted
    assert len(counted) == 5
