"""`adapters.yaml`: the adapters that a server should serve, looked at every few seconds. Any number of servers that read one file come to
serve the same, without a coordinator; each says whether it does yet.

    adapters:
      cft: {source: cft-3}
      critic: {source: critic-7, canary: {source: critic-8, percent: 10}}
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from redraft.errors import RedraftError
from server.adapters.errors import Refused
from server.adapters.registry import FILE, Registry


class DeclaredCanary(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: str
    percent: float = Field(ge=0, le=100)


class DeclaredAdapter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: str
    canary: DeclaredCanary | None = None


class Declared(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    adapters: dict[str, DeclaredAdapter] = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why this server does not serve what the file says."""

    adapter: str | None
    """None: the file itself."""
    reason: str


@dataclass(frozen=True, slots=True)
class _Tried:
    """A source as it was when it was last admitted or refused."""

    source: str
    signature: tuple[object, ...] | None
    revision: str | None
    refusal: str | None


class Reconciler:
    def __init__(self, registry: Registry, file: Path, *, every_s: float) -> None:
        self._registry = registry
        self._file = file
        self._every_s = every_s
        self._tried: dict[tuple[str, str], _Tried] = {}
        self.problems: list[Problem] = []

    @property
    def converged(self) -> bool:
        return not self.problems

    async def run(self) -> None:
        """Look at the file for ever."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.once()

    async def once(self) -> None:
        """Bring the registry one look nearer to the file. What is wrong is in `problems`, and what served before goes on."""
        try:
            declared = await asyncio.to_thread(read, self._file)
        except ValueError as error:
            self.problems = [Problem(None, f"{self._file.name}: {error}")]
            return
        found: list[Problem] = []
        for alias, wanted in declared.adapters.items():
            try:
                await self._bring(alias, wanted)
            except RedraftError as error:
                found.append(Problem(alias, error.message))
        for alias in self._forgotten(declared):
            try:
                await self._registry.remove(alias, owner=FILE)
            except RedraftError as error:
                found.append(Problem(alias, error.message))
        self._tried = {(alias, role): tried for (alias, role), tried in self._tried.items() if alias in declared.adapters}
        self.problems = found

    def _forgotten(self, declared: Declared) -> list[str]:
        """Aliases that the file named once and names no more. What came over HTTP is not the file's business."""
        routes = {alias: self._registry.route(alias) for alias in self._registry.names() if alias not in declared.adapters}
        return [alias for alias, route in routes.items() if route is not None and route.owner == FILE]

    async def _bring(self, alias: str, wanted: DeclaredAdapter) -> None:
        await self._ensure(alias, "current", wanted.source)
        if wanted.canary is not None:
            await self._ensure(alias, "canary", wanted.canary.source, wanted.canary.percent)
        route = self._registry.route(alias)
        assert route is not None
        if wanted.canary is None and route.canary is not None:
            await self._registry.rollback(alias, owner=FILE)
        elif wanted.canary is not None and route.percent != wanted.canary.percent:
            await self._registry.set_canary(alias, wanted.canary.percent, owner=FILE)

    async def _ensure(self, alias: str, role: str, source: str, percent: float | None = None) -> None:
        """Have the revision that `source` is serve in its role. A source that did not change is not read again."""
        signature = await asyncio.to_thread(self._registry.gate.signature, source)
        tried = self._tried.get((alias, role))
        if tried is not None and tried.source == source and signature in {tried.signature, None}:
            if tried.refusal is not None:
                raise RedraftError(tried.refusal)
            if tried.revision is not None and tried.revision == self._in(alias, role):
                return
        try:
            await self._registry.put(alias, source, canary=percent, owner=FILE)
        except Refused as error:
            self._tried[alias, role] = _Tried(source, signature, None, error.message)
            raise
        self._tried[alias, role] = _Tried(source, signature, self._in(alias, role), None)

    def _in(self, alias: str, role: str) -> str | None:
        """The revision in a role."""
        route = self._registry.route(alias)
        return None if route is None else route.current if role == "current" else route.canary


def read(file: Path) -> Declared:
    """Raises ValueError that says what is wrong, and where."""
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not YAML: {' '.join(str(error).split())[:200]}") from error
    try:
        return Declared.model_validate(found if found is not None else {})
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}") from error
