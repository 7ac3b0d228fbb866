"""The README's examples against a running server: run as they stand, with another address and model name, and their output looked at."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redraft import home
from redraft.types import CriticState, Stop, Verdict
from tests.pages import ROOT, Block, blocks

ADDRESS = "http://127.0.0.1:8000"
CLIENTS = ("curl", "redraft solve", "redraft critique")
Check = Callable[[str], None]


def examples() -> list[Block]:
    """Every block that talks to a running server: all Python, and the shell ones that begin with a client."""
    return [b for b in blocks(ROOT / "README.md", "bash", "python") if b.language == "python" or b.text.startswith(CLIENTS)]


def run(example: Block, *, url: str, model: str, timeout_s: float) -> str:
    """Standard output of the example. Fails with its error output when it ends in an error."""
    if example.text.startswith("curl") and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    code = example.text.replace(ADDRESS, url).replace(home.DEFAULT_MODEL, model)
    command = [sys.executable, "-c", code] if example.language == "python" else ["bash", "-euo", "pipefail", "-c", code]
    ours = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "REDRAFT_SERVER": url,
        "COLUMNS": "400",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **ours}, timeout=timeout_s)
    assert done.returncode == 0, f"{example}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def check(example: Block, output: str) -> None:
    """Look at the output in the way of the first marker that the example contains. A new kind of example needs a check here."""
    for marker, look in CHECKS.items():
        if marker in example.text:
            look(output)
            return
    raise AssertionError(f"{example}: nobody looks at what this example prints; add a check")


def _is_solution(body: dict[str, Any]) -> None:
    assert body["object"] == "redraft.solution"
    assert body["content"]
    assert body["outcome"]["stop"] in set(Stop)
    assert body["outcome"]["critic"] in set(CriticState)
    assert [step["index"] for step in body["transcript"] if step["stage"] == "solve"] == list(range(len(_drafts(body))))
    assert body["usage"]["completion_tokens"] == sum(stage["completion_tokens"] for stage in body["usage"]["loop"].values()) > 0


def _drafts(body: dict[str, Any]) -> list[Any]:
    return [step for step in body["transcript"] if step["stage"] == "solve"]


def _is_judgement(body: dict[str, Any]) -> None:
    assert body["object"] == "redraft.critique"
    assert body["verdict"] in set(Verdict)
    assert (body["p_correct"] is None) == (body["verdict"] == Verdict.ABSTAIN)
    assert body["critique"].startswith("Critique:")


def _solve(output: str) -> None:
    body = json.loads(output)
    _is_solution(body)
    assert len(_drafts(body)) == 3


def _solve_stream(output: str) -> None:
    assert output.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in output.splitlines() if line.startswith("data: {")]
    assert {"step.started", "step.text", "step.ended", "vote"} == {event["type"] for event in events[:-1]}
    _is_solution(events[-1])


def _terminal(output: str) -> None:
    shown, _, judged = output.partition("\n{\n")
    assert "solve 3" in shown
    assert re.search(r"^answer: .*votes: ", shown, re.MULTILINE)
    assert re.search(r"^stopped: \w+, critic: \w+; \d+ tokens generated", shown, re.MULTILINE)
    _is_judgement(json.loads("{" + judged))


def _ready(output: str) -> None:
    body = json.loads(output)
    assert body["status"] == "ready"
    assert body["models"]


def _metrics(output: str) -> None:
    lines = output.splitlines()
    assert all(line.startswith("redraft_") for line in lines)
    assert any(line.startswith("redraft_loops_running ") for line in lines)


def _chat(output: str) -> None:
    solution, _, rest = output.partition("\nanswer: ")
    assert solution.strip()
    assert rest.strip()
    assert re.search(r"^tokens generated: [1-9]\d* \{'solve': ", output, re.MULTILINE)


def _chat_stream(output: str) -> None:
    story, _, solution = output.partition("=== solution\n")
    assert "### Draft 1\n" in story
    assert "### Draft 2\n" in story
    text, _, tokens = solution.partition("\ntokens generated: ")
    assert text.strip()
    assert text.strip() in story
    assert int(tokens) > 0


CHECKS: dict[str, Check] = {
    '"stream": true': _solve_stream,
    f"{ADDRESS}/solve": _solve,
    f"{ADDRESS}/critique": lambda output: _is_judgement(json.loads(output)),
    f"{ADDRESS}/health/ready": _ready,
    f"{ADDRESS}/metrics": _metrics,
    "redraft solve": _terminal,
    "stream=True": _chat_stream,
    "client.chat.completions.create": _chat,
}
