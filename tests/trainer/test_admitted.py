"""What `fit` leaves is what a server of ours admits: one hash of content, one identity of the base, one swap over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from rich.console import Console

from redraft.scripted import ScriptedEngine
from server import services
from server.adapters.parts import Adapters
from server.admission import Admission
from server.app import attach_routes
from server.config import ServeSettings
from server.telemetry import Telemetry
from tests.openai_server import listening
from tests.server.adapters.making import Home, ScriptedHost
from trainer.adapters import artifact
from trainer.config import FitConfig
from trainer.fitting.fit import fit

from .test_cli import trainer


@pytest.fixture
def home(tmp_path: Path, tiny_model: Path) -> Home:
    """A server's folders, whose base is the tiny model."""
    made = Home(tmp_path / "server")
    shutil.copytree(tiny_model, made.root / "base", dirs_exist_ok=True)
    return made


@pytest.fixture
def url(home: Home) -> Iterator[str]:
    """A server that takes adapters with a manifest alone."""
    app, limits, settings = FastAPI(), Admission(running=1, waiting=1), ServeSettings()
    telemetry, engine = Telemetry(limits, CollectorRegistry()), ScriptedEngine(lambda request: [])
    config = json.loads((home.root / "base" / "config.json").read_text(encoding="utf-8"))
    parts = Adapters(home.registry(ScriptedHost(), config=config, require_manifest=True), None)
    services.assemble(app.state, settings, engine, catalog_ttl_s=0, telemetry=telemetry, admission=limits, adapters=parts)
    attach_routes(app, settings, bind="127.0.0.1")
    with listening(app) as address:
        yield address


@pytest.fixture
def fitted(make: Callable[..., FitConfig], quiet: Console, home: Home) -> Callable[[int], Path]:
    """An adapter of one step where the server may read it."""

    def adapter(seed: int) -> Path:
        optim = {"batch_size": 4, "max_steps": 1}
        return fit(make(seed=seed, optim=optim).model_copy(update={"output": home.inbox / f"critic-{seed}"}), quiet).path

    return adapter


def content(folder: Path) -> str:
    manifest: dict[str, Any] = json.loads((folder / artifact.MANIFEST).read_text(encoding="utf-8"))
    return f"critic@{manifest['content_sha256'][:12]}"


def test_one_adapter_after_another_is_served(
    url: str, fitted: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = fitted(0), fitted(1)
    for folder in (first, second):
        assert trainer(monkeypatch, "publish", folder, "--to", url, "--alias", "critic") == 0
        assert capsys.readouterr().out.strip() == content(folder)
    shown = httpx.get(f"{url}/adapters/critic").json()
    assert (shown["state"], shown["revision"], shown["previous"]) == ("serving", content(second), content(first))
    assert {(held["manifest"]["name"], held["manifest"]["method"]) for held in shown["revisions"]} >= {("critic-1", "cft")}


def test_an_adapter_of_another_base_is_refused_by_the_server(
    url: str, home: Home, fitted: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = fitted(0)
    with (home.root / "base" / "config.json").open("a", encoding="utf-8") as changed:
        changed.write("\n")
    assert trainer(monkeypatch, "publish", adapter, "--to", url, "--alias", "critic") == 2
    assert "whose config_sha256 differs from that of the model served here" in capsys.readouterr().err
