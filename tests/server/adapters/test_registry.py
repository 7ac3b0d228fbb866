"""The rules of aliases and revisions, on an engine that asserts when one is broken."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from redraft import calibration
from redraft.calibration import Judged
from redraft.errors import BadRequest, ModelNotFound
from server.adapters.errors import Check, Conflict, Refused, StateFailed
from server.adapters.registry import FILE, Registry
from server.adapters.routing import BUCKETS, bucket
from server.adapters.slots import State
from server.adapters.store import WEIGHTS
from tests.server.adapters.making import PEFT, Home, ScriptedHost, until


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def served(registry: Registry, alias: str = "cft") -> str:
    """The revision that a request gets."""
    lease = registry.lease(alias)
    assert lease is not None
    lease.release()
    return lease.name


async def test_a_swap_keeps_the_old_one_until_its_requests_are_over(home: Home) -> None:
    host = ScriptedHost(slots=4)
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    one = await served(registry)
    flying = registry.lease("cft", "")
    assert flying is not None
    await registry.put("cft", home.adapter("two", 2))
    two = await served(registry)
    assert two != one == flying.name
    await registry.put("cft", home.adapter("three", 3))
    assert registry.choose(one, "") is None, "a draining revision takes no new requests"
    assert {state for revision, state, _ in registry.revisions("cft") if revision.name == one} == {State.DRAINING}
    await asyncio.sleep(0.02)
    assert one in host.loaded
    flying.release()
    flying.release()
    await until(lambda: one not in host.loaded)
    route = registry.route("cft")
    assert route is not None
    assert route.previous == two
    assert set(host.loaded) == {two, route.current}
    assert home.counted.swaps == ["served"] * 3


async def test_what_the_engine_still_works_for_is_not_unloaded(home: Home) -> None:
    host = ScriptedHost()
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    one = await served(registry)
    host.working[one] = 1
    await registry.remove("cft")
    await asyncio.sleep(0.15)
    assert one in host.loaded
    del host.working[one]
    await until(lambda: not host.loaded)


async def test_rollback_goes_back_and_forth(home: Home) -> None:
    host = ScriptedHost()
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    one = await served(registry)
    with pytest.raises(Conflict):
        await registry.rollback("cft")
    await registry.put("cft", home.adapter("two", 2))
    two = await served(registry)
    await registry.rollback("cft")
    assert await served(registry) == one
    await registry.rollback("cft")
    assert await served(registry) == two
    assert host.story == [f"load {one}", f"load {two}"], "a rollback loads nothing"


async def test_the_same_content_is_one_revision(home: Home) -> None:
    host = ScriptedHost()
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    await registry.put("cft", home.adapter("same", 1))
    await registry.put("other", home.adapter("again", 1))
    assert len(host.loaded) == 2
    assert len({name.partition("@")[2] for name in host.loaded}) == 1


async def test_a_bad_adapter_fails_and_the_old_one_serves(home: Home) -> None:
    host = ScriptedHost()
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    one = await served(registry)
    with pytest.raises(Refused) as caught:
        await registry.put("cft", home.adapter("nan", float("nan")))
    assert caught.value.check is Check.FINITE
    host.refuse = "no"
    with pytest.raises(Refused) as caught:
        await registry.put("cft", home.adapter("two", 2))
    assert caught.value.check is Check.LOAD
    attempt = registry.attempt("cft")
    assert attempt is not None
    assert (attempt.state, attempt.check) == (State.FAILED, "load")
    assert registry.state("cft") is State.SERVING
    assert await served(registry) == one
    assert set(host.loaded) == {one}
    assert home.counted.refusals == ["finite", "load"]
    assert registry.count(State.FAILED) == 1
    host.refuse = None
    await registry.put("cft", str(home.inbox / "two"))
    assert registry.attempt("cft") is None


async def test_failures_of_strangers_are_not_kept_without_end(home: Home) -> None:
    registry = home.registry(ScriptedHost())
    for number in range(80):
        with pytest.raises(Refused):
            await registry.put(f"x{number}", "absent")
    assert len(registry.names()) <= 65


async def test_names_that_are_taken(home: Home) -> None:
    registry = home.registry(ScriptedHost())
    source = home.adapter("one", 1)
    for name in ("tiny", "static", "a/b"):
        with pytest.raises(Refused) as caught:
            await registry.put(name, source)
        assert caught.value.check is Check.NAME
    assert registry.names() == []


async def test_a_source_may_vanish_or_change_while_it_serves(home: Home) -> None:
    host = ScriptedHost(slots=2)
    registry = home.registry(host)
    source = home.adapter("one", 1)
    await registry.put("cft", source)
    one = await served(registry)
    kept = host.loaded[one]
    shutil.rmtree(source)
    await registry.put("cft", home.adapter("two", 2))
    await registry.put("cft", home.adapter("three", 3))
    await until(lambda: one not in host.loaded)
    (Path(home.inbox / "two") / WEIGHTS).write_bytes(b"rot")
    await registry.rollback("cft")
    two = await served(registry)
    assert len(host.loaded[two]) == len(kept)


async def test_previous_revisions_make_room_and_can_be_loaded_again(home: Home) -> None:
    host = ScriptedHost(slots=3)
    registry = home.registry(host)
    for alias, values in {"a": (1, 2), "b": (3,)}.items():
        for value in values:
            await registry.put(alias, home.adapter(f"{alias}{value}", value))
    old = registry.route("a")
    assert old is not None
    assert old.previous in host.loaded
    await registry.put("c", home.adapter("c", 4))
    assert old.previous not in host.loaded
    assert State.UNLOADED in {state for _, state, _ in registry.revisions("a")}
    await registry.remove("c")
    await registry.rollback("a")
    assert await served(registry, "a") == old.previous


async def test_no_slot_is_said_at_once_when_all_serve_and_after_a_wait_when_they_drain(home: Home) -> None:
    host = ScriptedHost(slots=1)
    registry = home.registry(host, wait_s=0.1)
    await registry.put("a", home.adapter("one", 1))
    with pytest.raises(Conflict, match="needs one more"):
        await registry.put("b", home.adapter("two", 2))
    flying = registry.lease("a")
    assert flying is not None
    await registry.remove("a")
    with pytest.raises(Conflict, match="in flight") as caught:
        await registry.put("b", str(home.inbox / "two"))
    assert caught.value.retry_after_s
    asyncio.get_running_loop().call_later(0.02, flying.release)
    await registry.put("b", str(home.inbox / "two"))
    assert len(host.loaded) == 1


async def test_a_canary_is_sticky_and_grows_and_is_promoted(home: Home) -> None:
    registry = home.registry(ScriptedHost())
    source = home.adapter("two", 2)
    with pytest.raises(BadRequest):
        await registry.put("cft", source, canary=10)
    await registry.put("cft", home.adapter("one", 1))
    one = await served(registry)
    with pytest.raises(Conflict):
        await registry.put("cft", str(home.inbox / "one"), canary=10)
    await registry.put("cft", source, canary=20)
    route = registry.route("cft")
    assert route is not None
    assert route.canary is not None
    people = [f"user {n}" for n in range(2000)]
    first = {key for key in people if registry.choose("cft", key) == route.canary}
    assert 300 < len(first) < 500
    assert first == {key for key in people if bucket("cft", key) < BUCKETS / 5}
    await registry.set_canary("cft", 50)
    assert first < {key for key in people if registry.choose("cft", key) == route.canary}
    assert registry.choose(route.canary, "") == route.canary, "pinned"
    await registry.promote("cft", why={"p": 0.01})
    assert {registry.choose("cft", key) for key in people} == {route.canary}
    assert registry.history("cft")[0]["why"] == {"p": 0.01}
    await registry.rollback("cft")
    assert await served(registry) == one
    with pytest.raises(Conflict):
        await registry.promote("cft")


async def test_a_rollback_drops_a_canary_first(home: Home) -> None:
    host = ScriptedHost()
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    one = await served(registry)
    await registry.put("cft", home.adapter("two", 2), canary=100)
    assert await served(registry) != one
    await registry.rollback("cft")
    assert await served(registry) == one
    await until(lambda: set(host.loaded) == {one})


async def test_a_revision_can_be_chosen_by_its_name(home: Home) -> None:
    registry = home.registry(ScriptedHost())
    await registry.put("cft", home.adapter("one", 1))
    one = await served(registry)
    await registry.put("cft", home.adapter("two", 2))
    await registry.point("cft", one)
    assert await served(registry) == one
    with pytest.raises(ModelNotFound):
        await registry.point("cft", "0123456789ab")


async def test_swaps_at_once_end_in_one_of_them_and_never_overfill(home: Home) -> None:
    host = ScriptedHost(slots=2)
    registry = home.registry(host)
    sources = [home.adapter(f"n{value}", value) for value in range(12)]
    await registry.put("cft", sources[0])
    wrong: list[str] = []
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            lease = registry.lease("cft", "")
            assert lease is not None
            await asyncio.sleep(0.001)
            if lease.name not in host.loaded:
                wrong.append(lease.name)
            lease.release()

    clients = [asyncio.create_task(client()) for _ in range(4)]
    await asyncio.gather(*(registry.put("cft", source) for source in sources))
    over.set()
    await asyncio.gather(*clients)
    assert wrong == []
    route = registry.route("cft")
    assert route is not None
    await until(lambda: set(host.loaded) <= {route.current, route.previous})
    assert await served(registry) == route.current


async def test_a_rollback_while_a_load_waits_for_that_very_slot(home: Home) -> None:
    """The load that waits had the previous revision in mind for its slot; the rollback makes it the current one."""
    host = ScriptedHost(slots=2)
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    one = await served(registry)
    await registry.put("cft", home.adapter("two", 2))
    two = registry.lease("cft")
    old = registry.lease(one)
    assert two is not None
    assert old is not None
    loading = asyncio.create_task(registry.put("other", home.adapter("three", 3)))
    await until(lambda: registry.choose(one, "") is None)
    await registry.rollback("cft")
    old.release()
    assert await served(registry) == one
    two.release()
    await loading
    assert await served(registry) == one
    assert one in host.loaded


async def test_a_load_that_is_called_off_leaves_its_slot(home: Home) -> None:
    host = ScriptedHost(slots=1)
    registry = home.registry(host)
    host.gate.clear()
    task = asyncio.create_task(registry.put("cft", home.adapter("one", 1)))
    await until(lambda: registry.count(State.LOADING) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    host.gate.set()
    await registry.put("cft", str(home.inbox / "one"))
    assert len(host.loaded) == 1


async def test_removal(home: Home) -> None:
    host = ScriptedHost()
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    await registry.remove("cft")
    assert registry.lease("cft") is None
    await until(lambda: not host.loaded)
    with pytest.raises(ModelNotFound):
        await registry.remove("cft")
    assert registry.names() == []


async def test_what_the_file_declares_is_the_files(home: Home) -> None:
    registry = home.registry(ScriptedHost())
    await registry.put("cft", home.adapter("one", 1), owner=FILE)
    for change in (registry.put("cft", home.adapter("two", 2)), registry.rollback("cft"), registry.remove("cft")):
        with pytest.raises(Conflict, match="declared"):
            await change


async def test_a_restart_serves_the_same(home: Home) -> None:
    registry = home.registry(ScriptedHost(slots=4))
    await registry.put("cft", home.adapter("one", 1))
    await registry.put("cft", home.adapter("two", 2))
    await registry.put("cft", home.adapter("three", 3), canary=30)
    await registry.put("other", home.adapter("four", 4))
    before = {alias: registry.route(alias) for alias in registry.names()}
    await registry.aclose()
    for source in home.inbox.iterdir():
        shutil.rmtree(source)
    host = ScriptedHost(slots=4)
    again = home.registry(host)
    await again.restore()
    assert {alias: again.route(alias) for alias in again.names()} == before
    assert len(host.loaded) == 4
    small = ScriptedHost(slots=3)
    third = home.registry(small)
    await third.restore()
    assert third.route("cft") == before["cft"], "what serves comes before what is kept for a rollback"
    assert len(small.loaded) == 3


async def test_what_stands_in_for_an_activated_adapter_is_remembered(home: Home) -> None:
    source = home.adapter("a", 1, config=PEFT | {"alora_invocation_tokens": [7]})
    home.adapter("a/plain", 2)
    registry = home.registry(ScriptedHost(), no_activation="this is vLLM 9")
    await registry.put("cft", source)
    await registry.aclose()
    again = home.registry(ScriptedHost(), no_activation="this is vLLM 9")
    await again.restore()
    ((revision, _, _),) = again.revisions("cft")
    assert revision.activation is not None
    assert not revision.activation["activated"]
    assert "this is vLLM 9" in revision.activation["fallback"]
    shutil.rmtree(home.store.path(revision.sha256))
    await again.aclose()
    third = home.registry(ScriptedHost(), no_activation="this is vLLM 9")
    await third.restore()
    assert third.aliases == {"cft": revision.name}, "a copy that is lost is made again from what stands in"


async def test_an_engine_that_serves_no_activated_adapter_any_more_says_so(home: Home) -> None:
    registry = home.registry(ScriptedHost())
    await registry.put("cft", home.adapter("a", 1, config=PEFT | {"alora_invocation_tokens": [7]}))
    await registry.aclose()
    again = home.registry(ScriptedHost(), no_activation="this is vLLM 9")
    await again.restore()
    attempt = again.attempt("cft")
    assert attempt is not None
    assert (attempt.state, attempt.check) == (State.FAILED, Check.ACTIVATION)


async def test_a_ledger_of_an_earlier_version_is_read(home: Home) -> None:
    registry = home.registry(ScriptedHost())
    await registry.put("cft", home.adapter("a", 1))
    before = registry.aliases
    await registry.aclose()
    with closing(sqlite3.connect(home.root / "state.sqlite")) as db:
        db.execute("ALTER TABLE revisions DROP COLUMN activation")
    again = home.registry(ScriptedHost())
    await again.restore()
    assert again.aliases == before


async def test_a_restart_says_what_it_cannot_serve(home: Home) -> None:
    registry = home.registry(ScriptedHost())
    await registry.put("broken", home.adapter("one", 1))
    await registry.put("lost", home.adapter("two", 2))
    await registry.put("fine", home.adapter("three", 3))
    copies = {alias: home.store.path(registry.revisions(alias)[0][0].sha256) for alias in registry.names()}
    await registry.aclose()
    (copies["broken"] / WEIGHTS).chmod(0o644)
    (copies["broken"] / WEIGHTS).write_bytes(b"rot")
    shutil.rmtree(home.inbox / "one")
    shutil.rmtree(copies["lost"])
    again = home.registry(ScriptedHost())
    await again.restore()
    assert again.state("broken") is State.FAILED
    assert again.lease("broken") is None
    assert again.state("fine") is again.state("lost") is State.SERVING, "a lost copy is made again from an unchanged source"
    await again.aclose()
    other = home.registry(ScriptedHost(), max_rank=1)
    await other.restore()
    attempt = other.attempt("fine")
    assert attempt is not None
    assert attempt.check == "rank"


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.server.adapters.making import Home, ScriptedHost

async def main(root, moment):
    home = Home(Path(root) / "home")
    host = ScriptedHost()
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    print(registry.aliases["cft"], flush=True)
    if moment == "loading":
        async def die(name, path): os.kill(os.getpid(), signal.SIGKILL)
        host.load = die
    else:
        registry._ledger._db.set_trace_callback(lambda sql: sql.startswith(moment) and os.kill(os.getpid(), signal.SIGKILL))
    await registry.put("cft", home.adapter("two", 2))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("moment", ["loading", "INSERT INTO aliases", "INSERT INTO history", "COMMIT"])
async def test_killed_in_the_middle_of_a_swap(tmp_path: Path, moment: str) -> None:
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", KILLED, str(tmp_path), moment], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    home, host = Home(tmp_path / "home"), ScriptedHost()
    registry = home.registry(host)
    await registry.restore()
    assert await served(registry) == done.stdout.strip(), "the state before the swap, whole"
    assert set(host.loaded) == {done.stdout.strip()}
    await registry.put("cft", str(home.inbox / "two"))
    assert await served(registry) != done.stdout.strip()


async def test_state_that_cannot_be_written_changes_nothing(home: Home) -> None:
    host = ScriptedHost()
    registry = home.registry(host)
    await registry.put("cft", home.adapter("one", 1))
    one = await served(registry)
    ledger: Any = registry._ledger
    ledger._db.execute("CREATE TRIGGER full BEFORE INSERT ON aliases BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(StateFailed, match="disk is full"):
        await registry.put("cft", home.adapter("two", 2))
    assert await served(registry) == one
    await until(lambda: set(host.loaded) == {one})
    assert home.counted.swaps[-1] == "failed"


async def test_an_adapter_that_was_measured_meanwhile_shows_its_calibration(home: Home) -> None:
    """The files are the same, and so is the revision: only what is known of it has changed."""
    host = ScriptedHost()
    registry = home.registry(host)
    source = home.adapter("a", 1.0)
    await registry.put("cft", source)
    ((revision, _, _),) = registry.revisions("cft")
    assert (revision.calibration, registry.calibration_of(revision.name)) == (None, None)
    report = calibration.fit([Judged(0.9, True), Judged(0.2, False)] * 20)
    (Path(source) / calibration.FILE).write_text(json.dumps(report.as_json()), encoding="utf-8")
    await registry.put("cft", source)
    ((again, _, _),) = registry.revisions("cft")
    assert again.name == revision.name
    assert again.calibration is not None
    assert again.calibration["tpr"] == report.calibration.tpr
    assert registry.calibration_of(revision.name) == again.calibration
