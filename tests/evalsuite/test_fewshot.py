"""Few-shot prompts: which examples, how they are said, and that no measured problem is one of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from evalsuite import store
from evalsuite.config import RunConfig, Strategy
from evalsuite.tasks import Problem, Shot, load
from evalsuite.tasks.fewshot import draw
from redraft.errors import BadRequest
from redraft.prompts import SOLVE_SYSTEM
from tests.evalsuite.scripted_server import Body, ScriptedServer, chat, problem_of, rows, run_cli
from tests.evalsuite.test_runner import config, draft, solved

POOL = [Problem(f"p/{i}", f"Problem  {i}?", str(i), f"It is {i}." if i % 2 else rf"So \boxed{{{i}}}") for i in range(20)]


def test_the_draw_is_always_the_same_a_larger_one_goes_on_and_no_measured_problem_is_in_it() -> None:
    measured = [Problem(f"t/{i}", f"problem {i}?", "0") for i in range(10)]
    drawn = draw(6, POOL, measured, name="t", source="s")
    assert draw(6, list(POOL), measured, name="t", source="s") == drawn
    assert drawn[:3] == draw(3, POOL, measured, name="t", source="s")
    assert {shot.problem for shot in draw(10, POOL, measured, name="t", source="s")} == {p.problem for p in POOL[10:]}
    assert draw(6, POOL, measured, name="other", source="s") != drawn
    with pytest.raises(BadRequest, match="--num-fewshot 11: s has 10 problems that are not among those of t itself"):
        draw(11, POOL, measured, name="t", source="s")


def test_every_example_ends_in_a_box_or_is_the_reference() -> None:
    said = {shot.problem: shot.response for shot in draw(20, POOL, [], name="t", source="s")}
    assert said["Problem  3?"] == "It is 3.\n\nThe answer is \\boxed{3}."
    assert said["Problem  4?"] == r"So \boxed{4}"
    pool = [Problem("a", "bare", "5"), Problem("b", "text", "", references=("one", "two"))]
    assert {shot.problem: shot.response for shot in draw(2, pool, [], name="t", source="s")} == {"bare": r"\boxed{5}", "text": "one"}


def test_examples_come_from_the_train_split_a_file_or_are_refused(tmp_path: Path) -> None:
    task = load("redraft-arith@3", limit=5, num_fewshot=4)
    assert len(task.problems) == 5
    assert task.shots == load("redraft-arith@3", limit=200, num_fewshot=4).shots, "whatever is measured"
    assert task.shots_source == "redraft-arith-train@3"
    assert not {shot.problem for shot in task.shots} & {p.problem for p in load("redraft-arith@3").problems}
    measured, pool = rows(tmp_path / "t.jsonl", {"a?": "1", "b?": "2"}), rows(tmp_path / "pool.jsonl", {"a?": "1", "c?": "3"})
    task = load(str(measured), limit=1, num_fewshot=1, fewshot_data=pool)
    assert (task.shots, task.shots_source) == ((Shot("c?", r"\boxed{3}"),), str(pool))
    with pytest.raises(BadRequest, match="has no train split: name a file of solved problems with --fewshot-data"):
        load(str(measured), num_fewshot=1)
    with pytest.raises(BadRequest, match=r"t\.jsonl has 0 problems that are not among those of t itself"):
        load(str(measured), num_fewshot=1, limit=1, fewshot_data=measured)
    with pytest.raises(BadRequest, match="--fewshot-data needs --num-fewshot"):
        load(str(measured), fewshot_data=pool)
    for name in ("gsm8k_test", "gsm8k_train"):
        rows(tmp_path / f"{name}.jsonl", {f"{name} {i}": str(i) for i in range(3)})
    task = load("gsm8k", data_dir=tmp_path, num_fewshot=3)
    assert {shot.problem for shot in task.shots} == {f"gsm8k_train {i}" for i in range(3)}


def test_examples_are_part_of_what_a_run_is() -> None:
    plain, problem = config(), Problem("t/0", "a", "1")
    shots = RunConfig(**{**_parts(plain), "shots": (Shot("q", "r"),)})
    others = RunConfig(**{**_parts(plain), "shots": (Shot("q", "other"),)})
    assert len({c.key(problem) for c in (plain, shots, others)}) == len({c.identity for c in (plain, shots, others)}) == 3
    assert RunConfig.from_json(json.loads(json.dumps(shots.as_json()))) == shots
    assert "shots" not in plain.as_json(), "runs from before there were examples keep their identity"


def _parts(made: RunConfig) -> dict[str, object]:
    return {name: getattr(made, name) for name in RunConfig.__dataclass_fields__}


async def test_a_run_says_them_as_turns_and_names_them(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return solved("4", draft(0, "4")) if "loop" in body else chat([r"\boxed{4}"])

    task, pool = rows(tmp_path / "t.jsonl", {"2+2?": "4"}), rows(tmp_path / "pool.jsonl", {"1+1?": "2", "1+2?": "3"})
    async with ScriptedServer(script) as server:
        common = ("run", "--task", str(task), "--base-url", server.base_url, "--num-fewshot", "2", "--fewshot-data", str(pool))
        code, out, err = await run_cli(*common, "--out", str(tmp_path / "out"))
        assert code == 0, err
        assert "1 problems, 2-shot" in out
        messages = server.bodies[0]["messages"]
        assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
        assert messages[0]["content"] == SOLVE_SYSTEM
        assert problem_of(server.bodies[0]) == "2+2?"
        assert {(messages[1]["content"], messages[2]["content"]), (messages[3]["content"], messages[4]["content"])} == {
            ("1+1?", r"\boxed{2}"), ("1+2?", r"\boxed{3}"),
        }  # fmt: skip
        value = store.load_json(tmp_path / "out" / store.SUMMARY)
        assert (value["task"]["num_fewshot"], value["task"]["fewshot_source"]) == (2, str(pool))
        code, _, err = await run_cli(*common[:-4], "--out", str(tmp_path / "out"))
        assert code == 2
        assert "shots: [{'problem': '1+" in err
        code, _, err = await run_cli(*common, "--out", str(tmp_path / "loop"), "--strategy", str(Strategy.LOOP), "--system", "Be brief.")
        assert code == 0, err
        assert [m["role"] for m in server.bodies[-1]["messages"]] == ["system", "user", "assistant", "user", "assistant", "user"]
        assert "problem" not in server.bodies[-1]
        for wrong, said in (
            (("--strategy", "critique"), "--num-fewshot does not go with --strategy critique"),
            (("--strategy", "loop", "--system", ""), "a loop has a system message always"),
        ):
            code, _, err = await run_cli(*common, *wrong)
            assert code == 2
            assert said in err
