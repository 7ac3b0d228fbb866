"""The house holds: imports run one way, heavy libraries stay in their rooms, command lines start light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("redraft", "server", "evalsuite", "trainer", "benchmarks", "deploy")
ALLOWED = {
    "redraft": set(),
    "evalsuite.checker": set(),
    "server": {"redraft", "evalsuite.checker"},
    "evalsuite.graders": {"redraft", "evalsuite.checker"},
    "evalsuite": {"redraft", "evalsuite.checker", "evalsuite.graders"},
    "trainer": {"redraft", "evalsuite.checker", "evalsuite.graders", "evalsuite.tasks"},
    "deploy": set(),
    "benchmarks": {"redraft", "server", "evalsuite", "evalsuite.checker", "evalsuite.graders", "trainer"},
}
TRAINER = ("algebra", "teachers", "data", "adapters", "fitting", "stages", "commands", "running")
"""The trainer's rooms: each may import those before it, and the trainer's own modules outside of rooms."""
HEAVY = ("torch", "vllm", "transformers")


def modules(room: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / room).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str:
    own = (room for room in ("evalsuite.checker", "evalsuite.graders") if name.startswith(room))
    return next(own, name.split(".", maxsplit=1)[0])


def may(importer: str, imported: str) -> bool:
    if room_of(imported) == room_of(importer):
        return True
    return any(imported == allowed or imported.startswith(f"{allowed}.") for allowed in ALLOWED[room_of(importer)])


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    wrong = [
        f"{name} imports {found}"
        for name, tree in modules(room)
        for found in imports(tree)
        if found.split(".")[0] in ROOMS and not may(name, found)
    ]
    assert wrong == []


def test_the_trainers_rooms_stand_in_order() -> None:
    wrong = [
        f"{name} imports {found}"
        for name, tree in modules("trainer")
        for found in imports(tree)
        if (mine := within_trainer(name)) and (other := within_trainer(found)) and TRAINER.index(mine) < TRAINER.index(other)
    ]
    assert wrong == []


def within_trainer(name: str) -> str | None:
    return next((room for room in TRAINER if name.startswith(f"trainer.{room}.")), None)


def test_only_the_engine_room_imports_vllm() -> None:
    wrong = [
        f"{name} imports {found}"
        for room in ("redraft", "server", "evalsuite", "trainer")
        for name, tree in modules(room)
        if not name.startswith("server.engine")
        for found in imports(tree)
        if found.split(".")[0] == "vllm"
    ]
    assert wrong == []


def test_the_kernel_knows_no_web_and_no_tensors() -> None:
    banned = {"fastapi", "starlette", "uvicorn", "vllm", "torch", "transformers"}
    assert [f"{n}: {f}" for n, tree in modules("redraft") for f in imports(tree) if f.split(".")[0] in banned] == []


def test_relative_imports_and_grab_bags_are_not_used() -> None:
    for room in ROOMS:
        for name, tree in modules(room):
            assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree)), name
            assert name.rsplit(".", 1)[-1] not in {"utils", "util", "common", "helpers", "misc"}


@pytest.mark.parametrize(
    "module",
    [
        "server.cli",
        "server.config",
        "server.app",
        "evalsuite.cli",
        "evalsuite.checker",
        "evalsuite.graders",
        "trainer.cli",
        "trainer.config",
        "redraft.loop",
        "redraft.remote",
    ],
)
def test_command_lines_and_settings_import_nothing_heavy(module: str) -> None:
    script = f"import {module}, sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
