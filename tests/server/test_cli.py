"""The `redraft` command against a running server, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from redraft.scripted import Reply
from tests.conftest import Script, verdict
from tests.server.conftest import Serve

REDRAFT = Path(sys.executable).with_name("redraft")
DRAFTS = [r"two and two: \boxed{4}", r"so \boxed{5}", r"I get \boxed{4.0} here"]


def redraft(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([REDRAFT, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False)


def test_solve_shows_every_step_and_the_answer(serve: Serve) -> None:
    served = serve(Script(DRAFTS, critic=verdict(0.2), reviser=lambda r: [Reply(r"\boxed{4}")]))
    done = redraft("solve", "2+2?", "--server", served.url, "--critique", "always")
    assert done.returncode == 0, done.stderr
    for part in ("solve 1", "critique 2", "incorrect, p(correct) 0.20", "revise 4", "answer: 4", "uncalibrated"):
        assert part in done.stdout


def test_solve_json_is_the_whole_result(serve: Serve) -> None:
    served = serve(Script(DRAFTS))
    done = redraft("solve", "2+2?", "--server", f"{served.url}/v1", "--json", "--drafts", "2", "--rounds", "0")
    assert json.loads(done.stdout)["answer"] == "4"
    assert [request.n for request in served.engine.requests] == [1, 1]


def test_critique_reads_files_and_standard_input(serve: Serve, tmp_path: Path) -> None:
    served = serve(Script([], critic=verdict(0.9, "all is well")))
    problem = tmp_path / "problem.txt"
    problem.write_text("2+2?", encoding="utf-8")
    done = redraft("critique", "--problem", f"@{problem}", "--response", "-", "--server", served.url, text="it is 4")
    assert "all is well\n\nConclusion: right [END]" in done.stdout
    assert "correct, p(correct) = 0.900" in done.stdout
    assert "it is 4" in served.engine.requests[0].messages[0]["content"]


def test_errors_are_one_line_and_exit_1(serve: Serve, unused_tcp_port: int) -> None:
    served = serve(Script(DRAFTS))
    wrong = redraft("solve", "2+2?", "--server", served.url, "--model", "nobody")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "the model `nobody` does not exist" in wrong.stderr
    nobody = redraft("solve", "2+2?", "--server", f"http://127.0.0.1:{unused_tcp_port}")
    assert nobody.returncode == 1
    assert "start one with `redraft serve`" in nobody.stderr
    assert "Traceback" not in nobody.stderr + wrong.stderr


def test_vllm_flags_over_a_remote_engine_are_refused() -> None:
    done = redraft("serve", "--engine-url", "http://127.0.0.1:1", "--max-model-len", "9")
    assert done.returncode == 2
    assert "--max-model-len" in done.stderr
