"""A stage that is killed while it writes, with SIGKILL, and started again ends in the same files as one that was not."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from redraft.engine import Generation
from redraft.scripted import Reply, ScriptedEngine
from tests.openai_server import listening, upstream
from trainer.stages.critique import critique
from trainer.stages.inject import inject

from .conftest import BoxChecker, rows_of
from .scripted_teacher import Teacher, judge
from .stages_alone import run

ROOT = Path(__file__).parents[2]
ROWS = 100
DRIVER = """
import sys
from pathlib import Path
from tests.trainer.stages_alone import run
run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
"""


@pytest.fixture
def url() -> Iterator[str]:
    """A server that answers to solutions with sums, and to teachers' prompts with critiques."""

    def solve(request: Generation) -> list[Reply]:
        number = int(request.messages[-1]["content"].split()[2])
        return [Reply(f"It is \\boxed{{{number + index}}}") for index in range(request.n)]

    app = upstream(ScriptedEngine(solve))
    with listening(Teacher(judge).app(app)) as address:
        yield address


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each stage starts from."""
    folder, checker, quiet = tmp_path_factory.mktemp("sources"), BoxChecker(), Console(quiet=True)
    responses, injected, critiques = (folder / f"{name}.jsonl" for name in ("responses", "injected", "critiques"))
    rows = (
        {
            "id": str(index),
            "problem": f"What is {index} + 9 - 1?",
            "gold": str(index + 8),
            "response": f"{index} + 9 = {index + 9}\n{index + 9} - 1 = {index + 8}. \\boxed{{{index + 8}}}",
        }
        for index in range(ROWS)
    )
    responses.write_text("".join(json.dumps(row) + "\n" for row in rows))
    inject(responses, injected, checker, seed=1, console=quiet)
    critique(injected, critiques, checker, seed=1, samples=2, console=quiet)
    return {"sample": responses, "inject": responses, "critique": injected, "consult": responses, "verify": critiques}


def start(stage: str, source: Path, folder: Path, url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", DRIVER, stage, str(source), str(folder / "out.jsonl"), url], cwd=ROOT)


def written(folder: Path) -> dict[str, bytes]:
    """What a stage left, but for its marks."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.jsonl"))}


def kill_when_it_has(process: subprocess.Popen[bytes], folder: Path, size: int) -> bool:
    """Kill as soon as the files hold `size` bytes; False where it was over before."""
    while process.poll() is None:
        if sum(path.stat().st_size for path in folder.glob("*.jsonl")) >= size:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.0005)
    return process.wait() == -signal.SIGKILL


def tear(path: Path) -> None:
    """Cut off the last line at any byte: what a kill may leave of it."""
    data = path.read_bytes()
    last = data[:-1].rfind(b"\n") + 1
    path.write_bytes(data[: random.randrange(last, len(data)) if data else 0])


@pytest.mark.parametrize("stage", ["sample", "inject", "critique", "consult", "verify"])
def test_a_killed_stage_ends_in_the_same_files(stage: str, sources: dict[str, Path], tmp_path: Path, url: str) -> None:
    whole = tmp_path / "whole"
    run(stage, sources[stage], whole / "out.jsonl", url)
    expected = written(whole)
    size = sum(len(data) for data in expected.values())
    for attempt in range(6):
        folder = tmp_path / f"cut{attempt}"
        folder.mkdir()
        if kill_when_it_has(start(stage, sources[stage], folder, url), folder, int(size * random.uniform(0.02, 0.6))):
            break
    else:
        pytest.fail("no run was caught at work")
    assert sum(len(data) for data in written(folder).values()) < size
    tear(folder / "out.jsonl")
    run(stage, sources[stage], folder / "out.jsonl", url)
    assert written(folder) == expected
    assert len(rows_of(folder / "out.jsonl")) >= ROWS / 2
