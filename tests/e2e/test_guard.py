"""The guards on the real servers: every route of vLLM's own app by every scope, caps on vLLM's own routes, salts, and what its log says."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from server.keys import key as keys
from server.keys import routes
from server.keys.key import Key, Scope
from server.keys.store import KeyFile
from tests.e2e.conftest import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CANARY = "canary-prompt-51c7"
USED = {"/solve", "/critique", "/v1/chat/completions", "/v1/completions", "/v1/models", "/tokenize", "/detokenize", "/adapters", "/metrics"}
"""What nobody may forget to list."""


@dataclass(frozen=True)
class Guarded:
    server: Server
    secrets: dict[Scope, str]

    def client(self, scope: Scope | None) -> httpx.Client:
        headers = {} if scope is None else {"Authorization": f"Bearer {self.secrets[scope]}"}
        return httpx.Client(base_url=self.server.url, headers=headers, timeout=120, trust_env=False)


@pytest.fixture
def guarded(served: Server) -> Iterator[Guarded]:
    """The session's server with keys, which it follows while it runs, and without them again afterwards."""
    file, secrets = KeyFile(served.keys_file), {}
    for scope in Scope:
        identity, secrets[scope] = keys.new_secret()
        file.add(Key(identity, scope, keys.digest(secrets[scope]), frozenset({scope})))
    found = Guarded(served, secrets)
    try:
        wait_for(found, asked=True)
        yield found
    finally:
        served.keys_file.unlink()
        wait_for(found, asked=False)


def wait_for(guarded: Guarded, *, asked: bool) -> None:
    with guarded.client(None) as client:
        while (client.get("/v1/models").status_code == 401) != asked:
            time.sleep(0.1)


def test_every_route_by_every_scope(guarded: Guarded) -> None:
    """With bodies that no route takes, so that nothing is done: what counts is who gets past the guard."""
    with guarded.client(Scope.ADMIN) as client:
        schema = client.get("/openapi.json").json()
    told = {(method.upper(), path) for path, operations in schema["paths"].items() for method in operations}
    assert {path for _, path in told} >= {"/solve", "/critique", "/v1/chat/completions", "/v1/models", "/metrics"}
    hidden = {
        ("POST", "/sleep"),
        ("POST", "/v1/audio/transcriptions"),
        ("POST", "/abort_requests"),
        ("GET", "/static/x"),
        ("POST", "/invocations"),
    }
    for method, template in sorted((told | hidden) - routes.OPEN):
        path = re.sub(r"\{[^}]*\}", "x", template)
        needed = routes.needed(method, path)
        with guarded.client(None) as client:
            assert client.request(method, path, content=b"[]").status_code == 401, f"{method} {path}"
        for scope in Scope:
            if needed is Scope.ADMIN and scope is Scope.ADMIN:
                continue  # it may do anything, pausing the engine too
            with guarded.client(scope) as client:
                status = client.request(method, path, content=b"[]").status_code
            assert (status == 403) != (needed in keys.IMPLIED[scope]), f"{method} {path} with {scope}: {status}"
            assert status != 401
    listed = {path for (_, path), scope in routes.EXACT.items() if scope is not Scope.ADMIN}
    assert listed >= USED


def chat(content: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], "max_tokens": 2, "temperature": 0, **more}


@pytest.mark.parametrize(
    ("path", "more", "param"),
    [
        ("/v1/chat/completions", {"chat_template": "{{ messages }}"}, "chat_template"),
        ("/v1/chat/completions", {"n": 1000}, "n"),
        ("/v1/chat/completions", {"stop": ["x" * 1000]}, "stop"),
        ("/v1/completions", {"prompt": "x", "structured_outputs": {"regex": "((a{99}){99}){99}"}}, "structured_outputs"),
        ("/v1/completions", {"prompt": "x", "kv_transfer_params": {"remote_host": "127.0.0.1"}}, "kv_transfer_params"),
        ("/tokenize", {"chat_template": "{{ messages }}"}, "chat_template"),
    ],
)
def test_caps_on_the_engines_own_routes(served: Server, path: str, more: dict[str, Any], param: str) -> None:
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as client:
        reply = client.post(path, json={**chat("hello"), **more})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_a_link_is_not_followed(served: Server) -> None:
    picture = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as client:
        reply = client.post("/v1/chat/completions", json=chat([picture]))
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages.0.content")


def cached(client: httpx.Client, body: dict[str, Any], path: str) -> int:
    reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    details = reply.json()["usage"]["prompt_tokens_details"]
    return int(details["cached_tokens"]) if details else 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_one_key_cannot_time_anothers_prefix_cache(guarded: Guarded, path: str) -> None:
    words = f"{path} " + "a rather long text that nobody else has asked about " * 40
    body = {"prompt": words, "max_tokens": 2} if path.endswith("/completions") and "chat" not in path else chat(words)
    with guarded.client(Scope.INFER) as one, guarded.client(Scope.EVAL) as two:
        assert cached(one, body, path) == 0
        assert cached(two, body, path) == 0
        assert cached(one, body, path) > 0


def test_a_loop_runs_under_a_salt(guarded: Guarded) -> None:
    body = {"problem": "1+1?", "loop": {"drafts": 2, "rounds": 0, "response_tokens": 16, "seed": 1}}
    with guarded.client(Scope.INFER) as client:
        assert client.post("/solve", json=body).status_code == 200


def test_no_secret_reaches_the_log(guarded: Guarded) -> None:
    with guarded.client(Scope.INFER) as client:
        assert client.post("/v1/chat/completions", json=chat(CANARY)).status_code == 200
        assert client.post("/v1/chat/completions", json=chat(CANARY, n=1000)).status_code == 400
        assert client.post("/v1/chat/completions", json={"messages": CANARY}).status_code == 400
        assert client.post("/solve", json={"problem": CANARY, CANARY: 1}).status_code == 400
    text = guarded.server.log.read_text(encoding="utf-8")
    assert [secret for secret in (CANARY, *guarded.secrets.values()) if secret in text] == []
