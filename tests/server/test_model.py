"""The cache of the default model: only what is whole is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from redraft import home
from redraft.errors import BadRequest
from server import model


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text("{}", encoding="utf-8")
    (directory / "model.safetensors").write_bytes(b"weights")
    home.seal(directory, source="test")
    return directory


def test_a_whole_model_has_no_flaw(sealed: Path) -> None:
    assert home.flaw(sealed) is None


def test_every_kind_of_damage_is_seen(sealed: Path) -> None:
    weights = sealed / "model.safetensors"
    weights.write_bytes(b"weightz")
    assert "another hash" in str(home.flaw(sealed))
    weights.write_bytes(b"weig")
    assert "another size" in str(home.flaw(sealed))
    weights.unlink()
    assert "missing" in str(home.flaw(sealed))
    (sealed / home.SEAL).write_text('{"files": []}', encoding="utf-8")
    assert "names no file" in str(home.flaw(sealed))
    (sealed / home.SEAL).write_text("{", encoding="utf-8")
    assert "broken" in str(home.flaw(sealed))
    (sealed / home.SEAL).unlink()
    assert "never finished" in str(home.flaw(sealed))
    assert "not there" in str(home.flaw(sealed / "else"))


def test_redraft_home_names_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    assert home.default_model_dir().is_relative_to(tmp_path)


def test_a_flawed_cache_is_built_again_and_parts_are_swept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    built: list[Path] = []

    def build(gguf: Path, target: Path, say: model.Say) -> None:
        built.append(target)
        (target / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(model, "_build", build)
    target = model.ensure_default_model()
    assert home.flaw(target) is None
    assert model.ensure_default_model() == target
    assert len(built) == 1
    (target / "model.safetensors").write_bytes(b"broken!")
    killed = target.parent / f".{target.name}.x.part"
    killed.mkdir()
    said: list[str] = []
    assert model.ensure_default_model(said.append) == target
    assert home.flaw(target) is None
    assert len(built) == 2
    assert "another hash" in said[0]
    assert not killed.exists()


def test_a_package_with_another_hash_is_refused(tmp_path: Path) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"not the model")
    with pytest.raises(BadRequest, match="expected b179c952"):
        model._build(gguf, tmp_path, lambda line: None)
