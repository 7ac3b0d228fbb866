"""A running server is given an adapter, and is waited for until it serves it. Knows HTTP, and nothing of what an adapter is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from redraft import wire
from redraft.errors import EngineFailed, EngineTimeout, EngineUnavailable, RedraftError
from redraft.remote import api_root

SERVING = "serving"
FAILED = ("failed", "refused", "error")
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Served:
    """What a server says of an adapter."""

    name: str
    revision: str
    state: str


class AdapterServer:
    """The routes of one server by which adapters come and go. Close it after use."""

    def __init__(self, url: str, *, api_key: str | None, timeout_s: float, poll_s: float = POLL_S) -> None:
        self.root = api_root(url)
        self.timeout_s = timeout_s
        self.poll_s = poll_s
        self.client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=5.0), headers={"Authorization": f"Bearer {api_key}"} if api_key else {}
        )

    def __enter__(self) -> AdapterServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.close()

    def swap(self, alias: str, source: str, say: Callable[[str], object] = lambda state: None) -> Served:
        """Serve the adapter in `source`, a folder as the server sees it, under `alias`; what the alias meant before is replaced."""
        until = time.monotonic() + self.timeout_s
        served = self._served(self._ask("POST", "/adapters", {"name": alias, "source": source}))
        while served.state != SERVING:
            say(served.state)
            if served.state in FAILED:
                raise EngineFailed(f"{self.root}: {served.name} {served.revision} is {served.state}: the server's log says why")
            if time.monotonic() > until:
                raise EngineTimeout(f"{self.root}: {served.name} {served.revision} is still {served.state} after {self.timeout_s:g} s")
            time.sleep(self.poll_s)
            served = self._find(served)
        return served

    def load_into_vllm(self, alias: str, path: str) -> None:
        """The route of a plain vLLM with runtime LoRA updating. It has no revisions: a name that is taken is refused."""
        self._ask("POST", "/v1/load_lora_adapter", {"lora_name": alias, "lora_path": path})

    def _find(self, wanted: Served) -> Served:
        listed = self._ask("GET", "/adapters")
        rows = listed.get("data") if isinstance(listed, Mapping) else None
        if not isinstance(rows, list):
            raise EngineFailed(f"{self.root}/adapters: expected a list of adapters under `data`, found {str(listed)[:80]}")
        mine = [self._served(row) for row in rows if isinstance(row, Mapping) and row.get("name") == wanted.name]
        found = next((row for row in mine if row.revision == wanted.revision), None)
        if found is None:
            now = ", ".join(row.revision for row in mine) or "nothing"
            raise EngineFailed(f"{self.root}: {wanted.name} was to become {wanted.revision}, and the server lists {now} under that name")
        return found

    def _served(self, body: object) -> Served:
        if not isinstance(body, Mapping) or not all(isinstance(body.get(name), str) for name in ("name", "revision", "state")):
            raise EngineFailed(f"{self.root}/adapters: expected name, revision and state, found {str(body)[:80]}")
        return Served(body["name"], body["revision"], body["state"])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> object:
        try:
            reply = self.client.request(method, self.root + path, json=body)
        except httpx.TimeoutException as error:
            raise EngineTimeout(f"{self.root}{path}: no answer within {self.timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise EngineUnavailable(f"{self.root} cannot be reached: {error}") from error
        if not reply.is_success:
            raise self._refusal(path, reply)
        return self._body(path, reply)

    def _body(self, path: str, reply: httpx.Response) -> object:
        if "json" not in reply.headers.get("content-type", ""):
            return reply.text[:200]
        try:
            found: object = reply.json()
        except ValueError as error:
            raise EngineFailed(f"{self.root}{path}: answered {reply.status_code} with what is no JSON: {reply.text[:80]!r}") from error
        return found

    def _refusal(self, path: str, reply: httpx.Response) -> RedraftError:
        """The server's own error, with the address before it."""
        found = wire.error_of(reply.status_code, self._body(path, reply))
        no_route = reply.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED)
        hint = "; is it a plain vLLM? Then --vllm, and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 on its side" if no_route else ""
        said = f"{self.root}{path} refused with {reply.status_code}: {found.message}" + (f" ({found.param})" if found.param else "") + hint
        return type(found)(said, param=found.param)
