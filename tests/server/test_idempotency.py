"""`Idempotency-Key`: joined while it runs, replayed later, refused for another request, bounded in every way."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from redraft.errors import EngineFailed
from redraft.scripted import Reply
from server import idempotency
from server.adapters import leases
from server.config import IdempotencySettings
from server.idempotency import Asked, KeyReused, Replays
from server.stream import Send
from tests.conftest import Script
from tests.server.conftest import Serve

KEY = {"Idempotency-Key": "order-66"}
QUICK = [r"\boxed{4}"]
SLOW = [Reply(r"it is \boxed{4} " + "word " * 60, delay_s=0.01)]
BODY: dict[str, Any] = {"problem": "2+2?", "loop": {"drafts": 1}}


@pytest.mark.parametrize("path", ["/solve", "/critique"])
async def test_a_retry_after_the_end_gets_the_same_answer(serve: Serve, path: str) -> None:
    served = serve(Script(QUICK))
    body = BODY if path == "/solve" else {"problem": "x", "response": "y"}
    async with served.client(headers=KEY) as client:
        first, again = await client.post(path, json=body), await client.post(path, json=dict(reversed(body.items())))
        asked = len(served.engine.requests)
        other = await client.post(path, json=body, headers={"Idempotency-Key": "order-67"})
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert other.json()["id"] != first.json()["id"]
    assert len(served.engine.requests) == 2 * asked


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_retry_while_the_first_runs_joins_it(serve: Serve, streamed: bool) -> None:
    served = serve(Script(SLOW))
    async with served.client(headers=KEY) as client:
        first = asyncio.create_task(client.post("/solve", json={**BODY, "stream": streamed}))
        while not served.engine.running:
            await asyncio.sleep(0.01)
        again = await client.post("/solve", json={**BODY, "stream": streamed})
        assert (await first).text == again.text
    assert again.headers["idempotent-replayed"] == "true"
    assert len(served.engine.requests) == 1
    if streamed:
        assert [json.loads(line[6:])["type"] for line in again.text.splitlines() if line.startswith("data: {")][-1] == "result"


async def test_the_first_client_may_be_gone(serve: Serve) -> None:
    served = serve(Script(SLOW))
    async with served.client(headers=KEY) as client:
        first = asyncio.create_task(client.post("/solve", json=BODY))
        while not served.engine.running:
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.1)
        again = await client.post("/solve", json=BODY)
    assert again.json()["answer"] == "4"
    assert len(served.engine.requests) == 1


async def test_a_retry_keeps_the_work_going(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "LINGER_S", 0.3)
    served = serve(Script([Reply(r"it is \boxed{4} " + "word " * 100, delay_s=0.01)]))
    async with served.client(headers=KEY) as client:
        first = asyncio.create_task(client.post("/solve", json=BODY))
        while not served.engine.running:
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0.1)
        assert (await client.post("/solve", json=BODY)).json()["answer"] == "4"
    assert len(served.engine.requests) == 1


async def test_nobody_comes_back(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "LINGER_S", 0.05)
    served = serve(Script([Reply("word " * 5000, delay_s=0.01)]))
    async with served.client(headers=KEY) as client:
        first = asyncio.create_task(client.post("/solve", json=BODY))
        while not served.engine.running:
            await asyncio.sleep(0.01)
        first.cancel()
        async with asyncio.timeout(30):
            while served.engine.running:
                await asyncio.sleep(0.01)


async def test_the_same_key_with_another_request_is_422(serve: Serve) -> None:
    served = serve(Script(QUICK))
    async with served.client(headers=KEY) as client:
        await client.post("/solve", json=BODY)
        other = await client.post("/solve", json={**BODY, "problem": "3+3?"})
        elsewhere = await client.post("/critique", json={"problem": "x", "response": "y"})
    assert (other.status_code, other.json()["error"]["type"]) == (422, "idempotency_error")
    assert elsewhere.status_code == 422


async def test_keys_belong_to_whoever_sends_them(serve: Serve) -> None:
    served = serve(Script(QUICK))
    async with served.client(headers=KEY) as client:
        one = await client.post("/solve", json=BODY, headers={"Authorization": "Bearer one"})
        two = await client.post("/solve", json={**BODY, "problem": "another"}, headers={"Authorization": "Bearer two"})
    assert (one.status_code, two.status_code) == (200, 200)
    assert "idempotent-replayed" not in two.headers


@pytest.mark.parametrize("key", ["", "x" * 256, "with space"])
async def test_a_key_has_a_form(serve: Serve, key: str) -> None:
    async with serve(Script(QUICK)).client() as client:
        reply = await client.post("/solve", json=BODY, headers={"Idempotency-Key": key})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "Idempotency-Key")


async def test_a_failure_is_not_kept(serve: Serve) -> None:
    served = serve(Script([Reply("one", error=EngineFailed("gone")), *QUICK], greedy=False))
    async with served.client(headers=KEY) as client:
        failed, again = await client.post("/solve", json=BODY), await client.post("/solve", json=BODY)
    assert (failed.status_code, again.status_code, again.json()["answer"]) == (502, 200, "4")


async def test_nothing_is_kept_where_the_settings_say_so(serve: Serve) -> None:
    served = serve(Script(QUICK), idempotency=IdempotencySettings(keep_s=0))
    async with served.client(headers=KEY) as client:
        for _ in range(2):
            assert "idempotent-replayed" not in (await client.post("/solve", json=BODY)).headers


class Alias:
    """A registry with one alias, and the lease that it gave."""

    name, releases = "cft@abc", 0

    def lease(self, name: str, key: str = "") -> Alias:
        return self

    def release(self) -> None:
        self.releases += 1


async def test_an_alias_is_the_same_request_wherever_it_points() -> None:
    found = Alias()
    taken = leases.Leases(found, "")  # type: ignore[arg-type]
    scope = {leases.OF_A_REQUEST: taken}
    assert taken.take("cft") == "cft@abc"
    assert leases.asked_as(scope, "cft@abc") == "cft"
    assert leases.asked_as(scope, "base") == "base"
    with leases.kept(found, ["cft@abc"]):  # type: ignore[arg-type]
        assert found.releases == 0
    assert found.releases == 1


# -- the store alone -----------------------------------------------------------------------------------------------------------------


def saying(text: str) -> Any:
    async def job(send: Send) -> None:
        send(text)

    return job


async def play(replays: Replays, key: str, job: Any, *, owner: str = "me", fingerprint: str = "f") -> tuple[list[str], bool]:
    heard: list[str] = []

    class Listener:
        def __call__(self, item: str) -> None:
            heard.append(item)

        def open(self) -> None: ...

    played, again = replays.join(Asked(owner, key, fingerprint), job)
    await played(Listener())
    return heard, again


async def test_the_oldest_make_room() -> None:
    many = Replays(keep_s=600, keys=3, max_bytes=1000)
    for n in range(10):
        await play(many, str(n), saying("x"))
    assert len(many) == 3
    assert await play(many, "9", saying("y")) == (["x"], True)
    assert await play(many, "0", saying("y")) == (["y"], False)
    large = Replays(keep_s=600, keys=100, max_bytes=1000)
    for n in range(10):
        await play(large, str(n), saying("x" * 300))
    assert (len(large), large.size) == (3, 900)


async def test_another_fingerprint_is_refused_while_it_runs_too() -> None:
    replays, never = Replays(keep_s=600, keys=3, max_bytes=1000), asyncio.Event()

    async def job(send: Send) -> None:
        await never.wait()

    first = asyncio.create_task(play(replays, "k", job))
    await asyncio.sleep(0)
    with pytest.raises(KeyReused):
        await play(replays, "k", job, fingerprint="g")
    never.set()
    assert await first == ([], False)
