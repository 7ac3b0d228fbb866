"""The command as users run it: a process of its own, a real server, exit codes, kill -9 and Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from tests.evalsuite.scripted_server import Body, ScriptedServer, chat, failure, problem_of, rows, run_cli, says, start_cli

GOLDS = {f"problem {i}": str(i) for i in range(12)}
RIGHT = {problem: rf"it is \boxed{{{gold}}}" for problem, gold in GOLDS.items()}


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    return rows(tmp_path / "numbers.jsonl", GOLDS)


async def test_a_run_writes_its_summary_and_prints_it_as_json(task_file: Path, tmp_path: Path) -> None:
    contents = {**RIGHT, "problem 3": r"it is \boxed{77}"}
    async with ScriptedServer(says(contents)) as server:
        code, out, err = await run_cli(
            "run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(tmp_path / "out"), "--json"
        )
    assert code == 0, err
    printed = json.loads(out)
    assert printed["model"] == "tiny", "the first that the server lists"
    assert printed["counts"]["right"] == 11
    assert printed["accuracy"]["value"] == pytest.approx(11 / 12)
    assert "12/12" in err
    written = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {**written, "directory": str(tmp_path / "out")} == printed
    assert written["config"]["sampling"] == {
        "n": 1, "max_tokens": 1024, "temperature": 0.0, "seed": None, "rounds": None, "deadline_s": None, "budget": None, "extra": None,
    }  # fmt: skip
    assert written["versions"]["redraft"]
    assert written["hardware"]["cores"] >= 1


async def _held_after(server: ScriptedServer, released: asyncio.Event, out: Path, finished: int) -> None:
    """Wait until `finished` grades are on the disk and all other problems hang in the server."""
    while not (out / "results.jsonl").exists() or (out / "results.jsonl").read_text().count('"kind": "grade"') < finished:
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
async def test_a_run_that_is_ended_in_the_middle_loses_no_finished_sample_and_repeats_none(
    task_file: Path, tmp_path: Path, ending: signal.Signals, code: int
) -> None:
    released = asyncio.Event()

    async def script(body: Body, time: int) -> web.StreamResponse:
        if int(problem_of(body).split()[1]) >= 5:
            await released.wait()
        return chat([RIGHT[problem_of(body)]])

    out = tmp_path / "out"
    async with ScriptedServer(script) as server:
        command = ("run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(out), "--concurrency", "6")
        process = await start_cli(*command)
        await asyncio.wait_for(_held_after(server, released, out, 5), 60)
        process.send_signal(ending)
        _, err = await process.communicate()
        assert process.returncode == code
        if ending is signal.SIGINT:
            assert b"the same command goes on from here" in err
        finished = Counter({f"problem {i}": 1 for i in range(5)})
        assert {p for p, times in server.asked.items() if times and p in finished} == set(finished)
        asked_before = dict(server.asked)
        released.set()
        code, stdout, err_text = await run_cli(*command, "--resume", "--json")
    assert code == 0, err_text
    assert "resuming: 5 of 12" in err_text
    again = {p: times - asked_before.get(p, 0) for p, times in server.asked.items()}
    assert again == {p: 0 if p in finished else 1 for p in GOLDS}
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    for kind in ("sample", "grade"):
        assert Counter(line["key"] for line in lines if line["kind"] == kind).most_common(1)[0][1] == 1
    assert json.loads(stdout)["counts"]["right"] == 12


async def test_thresholds_and_failures_have_exit_codes_of_their_own(task_file: Path, tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(503, "no engine") if problem_of(body) == "problem 1" and not mended else chat(["it is \\boxed{2}"])

    mended = False
    async with ScriptedServer(script) as server:
        command = ("run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(tmp_path / "out"), "--retries", "0")
        code, out, err = await run_cli(*command)
        assert code == 5
        assert "1 of 12 problems got no answer from the infrastructure" in err
        assert "service_unavailable: " in err
        assert re.search(r"^failed: numbers/1: service_unavailable: .*/v1/chat/completions: HTTP 503: no engine$", err, re.MULTILINE)
        assert "1 service_unavailable (not scored)" in out
        mended = True
        code, _, err = await run_cli(*command, "--min-accuracy", "0.5", "--max-p95-latency", "60")
        assert code == 3
        assert "is below --min-accuracy 50.0%" in err
        code, _, err = await run_cli(*command, "--min-accuracy", "0.05", "--max-p95-latency", "0")
        assert code == 4
        code, _, err = await run_cli(*command, "--min-accuracy", "0.05", "--max-p95-latency", "60")
        assert code == 0, err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "huge"), "serves no model 'huge'; it serves tiny, tiny-critic"),
        (("--critic", "tiny-critic"), "--critic belongs to --strategy loop"),
        (("--extra-body", "{"), "--extra-body: not JSON"),
        (("--extra-body", '{"n": 2}'), "--extra-body: n cannot be set there"),
        (("--extra-body", "{}", "--strategy", "loop"), "--extra-body is for chats"),
        (("--task", "nope"), "neither a .jsonl, .csv or .parquet file, nor hub:"),
        (("--resume",), "holds no run"),
        (("--strategy", "loop", "--critique", "maybe"), "--critique: expected calibrated or always, found 'maybe'"),
        (("--base-url", "127.0.0.1:8000"), "base URL '127.0.0.1:8000': expected http:// or https:// and a host"),
        (("--base-url", ""), "base URL '': expected http://"),
    ],
)
async def test_what_cannot_be_measured_is_one_line_and_exit_2(
    task_file: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    async with ScriptedServer(says(RIGHT)) as server:
        common = ("run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(tmp_path / "out"))
        code, _, err = await run_cli(*common, *arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert not server.asked


async def test_an_address_that_is_no_server_for_chats_is_said_to_be_so(task_file: Path) -> None:
    async with ScriptedServer(says(RIGHT)) as server:
        code, _, err = await run_cli("run", "--task", str(task_file), "--base-url", f"{server.base_url}/docs")
    assert code == 2
    assert f"; is {server.base_url}/docs the address of an OpenAI-compatible server?" in err


async def test_a_loop_on_a_server_without_one_says_what_is_missing(task_file: Path, tmp_path: Path) -> None:
    async def no_route(body: Body, time: int) -> web.StreamResponse:
        return failure(404, "Not Found" if body.get("critic") is None else "no adapter named other")

    async with ScriptedServer(no_route) as server:
        command = ("run", "--task", str(task_file), "--base-url", server.base_url, "--strategy", "loop")
        code, _, err = await run_cli(*command, "--out", str(tmp_path / "a"))
        assert code == 2
        assert err.endswith("/solve: HTTP 404: Not Found; strategy loop needs a Redraft server, which has /solve\n")
        code, _, err = await run_cli(*command, "--critic", "other", "--out", str(tmp_path / "b"))
    assert code == 2
    assert err.endswith("/solve: HTTP 404: no adapter named other\n")


async def test_a_directory_that_cannot_be_one_is_one_line(task_file: Path) -> None:
    async with ScriptedServer(says(RIGHT)) as server:
        code, _, err = await run_cli("run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(task_file))
    assert code == 2
    assert "numbers.jsonl cannot be the directory of a run: " in err


async def test_no_server_is_one_line_and_a_code_of_its_own(task_file: Path) -> None:
    code, _, err = await run_cli("run", "--task", str(task_file), "--base-url", "http://127.0.0.1:9")
    assert code == 5
    assert err.startswith("evalsuite: http://127.0.0.1:9/v1/models:")
    assert "Traceback" not in err


async def test_bad_rows_stop_a_run_or_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"problem": "problem 1", "answer": 1}\n{"problem": "problem 2"}\n')
    async with ScriptedServer(says(RIGHT)) as server:
        command = ("run", "--task", str(path), "--base-url", server.base_url, "--out", str(tmp_path / "out"))
        code, _, err = await run_cli(*command)
        assert code == 2
        assert "t.jsonl:2: field 'answer' is missing" in err
        code, out, err = await run_cli(*command, "--allow-bad-rows", "--json")
    assert code == 0, err
    assert json.loads(out)["task"]["bad_rows"] == 1
    assert "left out: " in err


async def test_more_fields_of_a_request_are_sent_and_are_part_of_the_configuration(task_file: Path, tmp_path: Path) -> None:
    async with ScriptedServer(says(RIGHT)) as server:
        command = ("run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(tmp_path / "out"), "--limit", "1")
        assert (await run_cli(*command, "--extra-body", '{"top_p": 0.5}'))[0] == 0
        assert server.bodies[0]["top_p"] == 0.5
        code, _, err = await run_cli(*command)
    assert code == 2
    assert "sampling.extra: {'top_p': 0.5} there, None now" in err


async def test_a_directory_with_another_run_is_refused(task_file: Path, tmp_path: Path) -> None:
    async with ScriptedServer(says(RIGHT)) as server:
        command = ("run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(tmp_path / "out"))
        assert (await run_cli(*command))[0] == 0
        code, _, err = await run_cli(*command, "--max-tokens", "5")
    assert code == 2
    assert "sampling.max_tokens: 1024 there, 5 now" in err


async def test_tasks_are_listed() -> None:
    code, out, _ = await run_cli("tasks", "--json")
    assert code == 0
    assert {"redraft-arith", "gsm8k"} <= {entry["name"] for entry in json.loads(out)}


async def test_the_command_line_imports_nothing_heavy() -> None:
    import sys

    heavy = ("torch", "vllm", "transformers", "datasets", "sympy", "scipy", "numpy")
    probe = f"import sys, evalsuite.cli; print([m for m in {heavy} if m in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", probe, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode().strip() == "[]"
