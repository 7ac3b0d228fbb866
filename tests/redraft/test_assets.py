"""The set-up of the web's libraries with an npm that is a script of ours: what is taken, when it is quick, what is said."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from redraft import assets
from redraft.assets.install import NotInstalled, install

NPM = """#!{python}
import pathlib, sys
assert sys.argv[1] == "ci" and "--ignore-scripts" in sys.argv
assert pathlib.Path("package-lock.json").is_file() and pathlib.Path("package.json").is_file()
for name in {files}:
    path = pathlib.Path("node_modules", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
"""


def files() -> list[str]:
    patterns = [f"{package}/{pattern}" for package, found in assets.FILES.items() for pattern in (*found, "LICENSE", "other.js")]
    return [pattern.replace("*", "K") for pattern in patterns]


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only npm on the path."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(NPM.format(python=sys.executable, files=files()))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return program


def test_only_the_files_that_are_used_are_taken_and_sealed(npm: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    said: list[str] = []
    install(said.append, dist)
    assert assets.flaw(dist) is None
    found = {path.relative_to(dist).as_posix() for path in dist.rglob("*") if path.is_file()}
    assert {"katex/katex.min.js", "katex/fonts/K.woff2", "preact/preact.mjs", "katex/LICENSE"} <= found
    assert not [name for name in found if name.endswith("other.js")]
    npm.unlink()
    install(said.append, dist)
    assert said == ["web libraries, from the lock by npm"], "the second time there is nothing to do"


def test_a_changed_missing_or_old_file_is_brought_again(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dist = tmp_path / "dist"
    install(lambda line: None, dist)
    (dist / "preact" / "preact.mjs").write_text("xreact/dist/preact.mjs")
    assert assets.flaw(dist) is not None
    install(lambda line: None, dist)
    (dist / "htm" / "htm.module.js").unlink()
    assert assets.flaw(dist) is not None
    install(lambda line: None, dist)
    assert assets.flaw(dist) is None
    other = tmp_path / "package-lock.json"
    other.write_text(assets.LOCK.read_text() + " ")
    monkeypatch.setattr(assets, "LOCK", other)
    flaw = assets.flaw(dist)
    assert flaw is not None
    assert "present lock" in flaw.reason


def test_what_went_wrong_is_said_and_nothing_half_is_left(npm: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    npm.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('EINTEGRITY: the hash is another')")
    with pytest.raises(NotInstalled, match="EINTEGRITY: the hash is another"):
        install(lambda line: None, dist)
    npm.write_text(NPM.format(python=sys.executable, files=files()[:-4]))
    with pytest.raises(NotInstalled, match="the package uplot has no"):
        install(lambda line: None, dist)
    assert not dist.exists()


def test_without_npm_one_line_says_so(tmp_path: Path) -> None:
    shutil.copytree(assets.ROOM.parent, tmp_path / "redraft", ignore=shutil.ignore_patterns("dist", "__pycache__"))
    environment = {**os.environ, "PATH": str(tmp_path)}
    for flags, code in (([], 1), (["--optional"], 0)):
        command = [sys.executable, "-m", "redraft.assets", *flags]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("-- no web libraries: npm is not there")
        assert done.stderr.count("\n") == 1


def test_the_lock_pins_what_the_pages_use_by_integrity_and_names_no_registry() -> None:
    lock = json.loads(assets.LOCK.read_text(encoding="utf-8"))["packages"]
    wanted = json.loads((assets.ROOM / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert set(wanted) == set(assets.FILES)
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert lock[f"node_modules/{name}"]["version"] == version
    for path, package in lock.items():
        assert "resolved" not in package
        assert not path or package["integrity"].startswith("sha512-")
