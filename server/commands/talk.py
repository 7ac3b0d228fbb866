"""What the commands that talk to a server share: where it is, its event stream as records, and plain requests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import typer
from httpx_sse import EventSource

from redraft.errors import EngineUnavailable
from redraft.remote import api_root
from redraft.wire import DONE, error_of

ServerUrl = Annotated[str, typer.Option("--server", envvar="REDRAFT_SERVER", help="A running `redraft serve`.")]
DEFAULT_SERVER = "http://127.0.0.1:8000"


def events(server: str, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """POST `body` and yield the stream's events; the last one is the whole result. Raises the typed error the server answered."""
    key = os.environ.get("REDRAFT_API_KEY") or os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    root = api_root(server)
    try:
        with (
            httpx.Client(timeout=httpx.Timeout(None, connect=5.0), headers=headers, trust_env=False) as client,
            client.stream("POST", root + path, json={**body, "stream": True}) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise error_of(response.status_code, _json(response.read()))
            for event in EventSource(response).iter_sse():
                if event.data == DONE:
                    return
                record = json.loads(event.data)
                if "error" in record:
                    raise error_of(record["error"]["code"], record)
                yield record
    except httpx.TransportError as error:
        raise EngineUnavailable(f"no server at {root} ({type(error).__name__}): start one with `redraft serve`") from error


def call(server: str, method: str, path: str, body: dict[str, Any] | None = None, *, timeout_s: float | None = None) -> Any:
    """One request and its JSON reply. Raises the typed error the server answered."""
    key = os.environ.get("REDRAFT_API_KEY") or os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    root = api_root(server)
    try:
        reply = httpx.request(
            method, root + path, json=body, headers=headers, timeout=httpx.Timeout(timeout_s, connect=5.0), trust_env=False
        )
    except httpx.TransportError as error:
        raise EngineUnavailable(f"no server at {root} ({type(error).__name__}): start one with `redraft serve`") from error
    if reply.is_error:
        raise error_of(reply.status_code, _json(reply.content))
    return reply.json()


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:200]
