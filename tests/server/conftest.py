"""A whole server in remote mode, over a scripted engine behind a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from redraft.scripted import Script, ScriptedEngine
from server.app import standalone
from server.config import GuardSettings, Limits, LoopDefaults, ServeSettings
from tests.openai_server import listening, upstream


@dataclass(frozen=True)
class Served:
    url: str
    engine: ScriptedEngine
    faults: dict[str, Any]

    def client(self, **more: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=30, **more)


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(script: Script, **settings: Any) -> Served:
            engine, faults = ScriptedEngine(script, models=("scripted", "critic")), {}
            behind = stack.enter_context(listening(upstream(engine, faults)))
            guard = GuardSettings(keys_file=tmp_path / "keys.sqlite")
            defaults: dict[str, Any] = {"loop": LoopDefaults(drafts=3), "limits": Limits(), "guard": guard}
            found = ServeSettings.model_construct(**{**dict(ServeSettings()), **defaults, "engine_url": behind, **settings})
            return Served(stack.enter_context(listening(standalone(found))), engine, faults)

        yield start
