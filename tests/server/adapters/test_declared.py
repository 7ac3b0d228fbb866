"""The declared file: servers follow it, say when they do not yet, and never stop serving because of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from server.adapters.declared import Reconciler
from server.adapters.registry import FILE, Registry
from server.adapters.slots import State
from tests.server.adapters.making import Home, ScriptedHost, adapter


class Replica:
    """One server that reads the shared file."""

    def __init__(self, root: Path, shared: Path) -> None:
        self.home = Home(root)
        self.home.inbox = shared
        self.host = ScriptedHost(slots=4)
        self.file = shared / "adapters.yaml"
        self.registry: Registry = self.home.registry(self.host)
        self.reconciler = Reconciler(self.registry, self.file, every_s=60)

    async def look(self) -> list[str]:
        await self.reconciler.once()
        assert self.reconciler.converged == (not self.reconciler.problems)
        return [f"{problem.adapter}: {problem.reason}" for problem in self.reconciler.problems]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    for value in (1, 2, 3):
        adapter(folder / f"v{value}", value)
    adapter(folder / "nan", float("nan"))
    return folder


def declare(shared: Path, text: str) -> None:
    (shared / "adapters.yaml").write_text(text, encoding="utf-8")


async def test_two_replicas_converge_also_when_one_was_away(tmp_path: Path, shared: Path) -> None:
    a, b = Replica(tmp_path / "a", shared), Replica(tmp_path / "b", shared)
    declare(shared, "adapters:\n  cft: {source: v1}\n  critic: {source: v2, canary: {source: v3, percent: 20}}\n")
    assert await a.look() == await b.look() == []
    assert a.registry.aliases == b.registry.aliases
    await b.registry.aclose()
    declare(shared, "adapters:\n  cft: {source: v3}\n  critic: {source: v2, canary: {source: v3, percent: 40}}\n")
    assert await a.look() == []
    again = Replica(tmp_path / "b", shared)
    await again.registry.restore()
    assert again.registry.aliases != a.registry.aliases, "what it served before, until it looks"
    assert await again.look() == []
    assert again.registry.aliases == a.registry.aliases
    for replica in (a, again):
        route = replica.registry.route("critic")
        assert route is not None
        assert route.percent == 40


async def test_a_bad_adapter_is_told_and_the_old_one_serves(tmp_path: Path, shared: Path) -> None:
    a = Replica(tmp_path / "a", shared)
    declare(shared, "adapters: {cft: {source: v1}, other: {source: v2}}")
    assert await a.look() == []
    before = a.registry.aliases
    declare(shared, "adapters: {cft: {source: nan}, other: {source: v3}}")
    for _ in range(2):
        (problem,) = await a.look()
        assert problem.startswith("cft: ")
        assert "finite" in problem
    assert a.registry.aliases["cft"] == before["cft"]
    assert a.registry.aliases["other"] != before["other"]
    attempt = a.registry.attempt("cft")
    assert attempt is not None
    assert attempt.state is State.FAILED
    assert a.home.counted.refusals == ["finite"], "what did not change is not tried again"
    shutil.rmtree(shared / "nan")
    adapter(shared / "nan", 4.0)
    assert await a.look() == []


async def test_a_source_that_changes_is_taken_again_and_one_that_vanishes_is_not_missed(tmp_path: Path, shared: Path) -> None:
    a = Replica(tmp_path / "a", shared)
    declare(shared, "adapters: {cft: {source: v1}}")
    await a.look()
    before = a.registry.aliases
    shutil.rmtree(shared / "v1")
    assert await a.look() == []
    assert a.registry.aliases == before
    adapter(shared / "v1", 7.0)
    assert await a.look() == []
    assert a.registry.aliases != before


async def test_what_is_no_longer_declared_goes_and_what_came_over_http_stays(tmp_path: Path, shared: Path) -> None:
    a = Replica(tmp_path / "a", shared)
    await a.registry.put("mine", "v3")
    declare(shared, "adapters: {cft: {source: v1, canary: {source: v2, percent: 5}}}")
    assert await a.look() == []
    declare(shared, "adapters: {cft: {source: v1}}")
    assert await a.look() == []
    route = a.registry.route("cft")
    assert route is not None
    assert (route.canary, route.owner) == (None, FILE)
    declare(shared, "")
    assert await a.look() == []
    assert set(a.registry.aliases) == {"mine"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("adapters: [", "not YAML"),
        ("adapters: {cft: v1}", "adapters.cft"),
        ("adapters: {cft: {source: v1, percent: 3}}", "adapters.cft.percent"),
        ("adapters: {cft: {source: v1, canary: {source: v2, percent: 101}}}", "percent"),
        ("adaptors: {}", "adaptors"),
    ],
)
async def test_a_wrong_file_changes_nothing(tmp_path: Path, shared: Path, text: str, said: str) -> None:
    a = Replica(tmp_path / "a", shared)
    declare(shared, "adapters: {cft: {source: v1}}")
    await a.look()
    before = a.registry.aliases
    declare(shared, text)
    (problem,) = await a.look()
    assert said in problem
    (shared / "adapters.yaml").unlink()
    (problem,) = await a.look()
    assert "cannot be read" in problem
    assert a.registry.aliases == before
