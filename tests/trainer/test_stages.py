"""The stages that make data: what is kept and why not, and that a run that was cut off ends in the same files."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evalsuite.tasks import Problem, Task
from redraft.engine import Generation
from redraft.errors import BadRequest, EngineTimeout, EngineUnavailable, Overloaded
from redraft.prompts import WRONG
from redraft.scripted import Reply, ScriptedEngine
from trainer.errors import BadRow, BadRun
from trainer.ordered import AHEAD, in_order
from trainer.stages.critique import critique
from trainer.stages.inject import inject
from trainer.stages.likeness import NearDuplicates, TestSets
from trainer.stages.sample import Plan, sample
from trainer.stages.select import mix, select
from trainer.stages.solutions import solutions
from trainer.stages.verify import rejections, report_file, verify

from .conftest import BoxChecker, rows_of

Jsonl = Callable[..., Path]
GOOD = {
    "id": "a",
    "problem": "What is 7 - 2?",
    "response": "7 - 2 = 6. \\boxed{6}",
    "gold": "5",
    "label": "wrong",
    "critique": "The solution takes 7 - 2 to be 6, but 7 - 2 = 5. The answer is \\boxed{5}.",
    "conclusion": "wrong",
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"label": None}, None),
        ({"critique": "7 - 2 = 6 is false. \\boxed{5}"}, None),
        ({"critique": "It says 7 - 2 = 6. That is wrong. The correct answer is 5."}, None),
        ({"critique": "It says 7 - 2 = 6. The correct answer is 4."}, "answer"),
        ({"critique": "It takes 7 - 2 to be 6. That is wrong."}, "no_answer"),
        ({"critique": "The solution claims 6, but 7 - 2 = 4, so it is not right. \\boxed{5}"}, None),
        ({"critique": "Two and seven, but 7 - 2 = 4 here. \\boxed{5}"}, "equation"),
        ({"critique": "7 - 2 = 6 holds. Step 2 is wrong. \\boxed{5}"}, "equation"),
        ({"response": "\\boxed{5}", "label": "right", "conclusion": "right", "critique": "It is right."}, None),
        ({"gold": None}, "no_gold"),
        ({"outcome": "unusable", "reason": "cut off"}, "unusable"),
        ({"conclusion": "right"}, "conclusion"),
        ({"label": None, "conclusion": "right"}, "conclusion"),
        ({"critique": "7 - 2 = 5, so \\boxed{4}."}, "answer"),
        ({"critique": "It is wrong.\n7 - 2 = 6 and the answer is \\boxed{5}."}, "equation"),
        ({"label": None, "gold": None}, "no_label"),
        ({"outcome": "cannot_judge", "reason": "no step"}, "not_judged"),
        ({"problem": "How many legs have three spiders and two dogs in all, if none of them is hurt?"}, "test_set"),
    ],
)
def test_why_a_critique_is_kept_or_not(
    jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console, change: dict[str, Any], reason: str | None
) -> None:
    banned = jsonl(
        {"question": "If none is hurt: how many legs have three spiders and two dogs in all, if none of them is bad?"}, name="test.jsonl"
    )
    kept = tmp_path / "kept.jsonl"
    found = verify(jsonl({**GOOD, **change}), kept, checker, test_sets=[banned], console=quiet)
    rejected = rows_of(rejections(kept))
    assert [row["reason"] for row in rejected] == ([] if reason is None else [reason])
    assert found.kept == (reason is None)
    assert all(row["detail"] and row["row"]["id"] == "a" for row in rejected)


def test_near_duplicates_are_rejected_within_a_problem(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    long = GOOD["critique"] + " Every other step of the solution was looked at too and nothing else was found in it at all."
    rows = [{**GOOD, "id": "a", "critique": long}, {**GOOD, "id": "b", "critique": long + " Good."}, {**GOOD, "id": "c"}]
    found = verify(jsonl(*rows), tmp_path / "kept.jsonl", checker, test_sets=[], console=quiet)
    assert [row["id"] for row in rows_of(tmp_path / "kept.jsonl")] == ["a", "c"]
    assert rows_of(rejections(tmp_path / "kept.jsonl"))[0]["detail"] == "nearly the same as a"
    assert found.noise == 0


def test_duplicates_are_known_after_a_resumption(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    source, kept = jsonl(GOOD, {**GOOD, "id": "b"}), tmp_path / "kept.jsonl"
    verify(source, kept, checker, test_sets=[], console=quiet)
    rejections(kept).write_text("")
    verify(source, kept, checker, test_sets=[], console=quiet)
    assert [row["id"] for row in rows_of(kept)] == ["a"]
    assert [row["reason"] for row in rows_of(rejections(kept))] == ["duplicate"]


def test_noise_is_the_teachers_share_of_faults(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    rows = [GOOD, {**GOOD, "id": "b", "conclusion": "right"}, {**GOOD, "id": "c", "outcome": "cannot_judge", "reason": "x"}]
    assert verify(jsonl(*rows), tmp_path / "kept.jsonl", checker, test_sets=[], console=quiet).noise == 0.5


def test_the_report_tells_faults_by_reason_and_by_true_label(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    right = {**GOOD, "response": "7 - 2 = 5. \\boxed{5}", "label": None, "critique": "7 - 2 = 5 holds.", "conclusion": "right"}
    rows = [
        *({**GOOD, "id": f"w{index}", "critique": f"{GOOD['critique']} {index} {'x y z ' * index}"} for index in range(3)),
        {**GOOD, "id": "fooled", "conclusion": "right"},
        {**right, "id": "r"},
        {**right, "id": "harsh", "conclusion": "wrong"},
        {**right, "id": "junk", "outcome": "unusable", "reason": "cut off"},
        {**GOOD, "id": "gone", "outcome": "failed", "reason": "timeout"},
    ]
    kept = tmp_path / "kept.jsonl"
    found = verify(jsonl(*rows), kept, checker, console=quiet)
    noise = json.loads(report_file(kept).read_text())["noise"]
    assert (noise["all"]["any"]["count"], noise["all"]["any"]["n"]) == (3, 7)
    assert (noise["right"]["conclusion"]["count"], noise["right"]["conclusion"]["n"]) == (1, 3)
    assert (noise["right"]["unusable"]["count"], noise["wrong"]["unusable"]["count"]) == (1, 0)
    assert noise["wrong"]["any"] == pytest.approx({"count": 1, "n": 4, "rate": 0.25, "low": 0.04559, "high": 0.69936}, abs=1e-5)
    assert found.noise == pytest.approx(3 / 7)
    assert found.rejected["not_judged"] == 1
    shown = Console(width=200, file=io.StringIO())
    shown.print(found.rates.table())
    assert "1/4 = 25.0% [4.6%, 69.9%]" in shown.file.getvalue()


def test_problems_of_a_task_and_of_a_json_file_are_kept_out(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    rows = [{**GOOD, "id": str(index), "problem": f"What is  {index}+1"} for index in range(9)]
    file = tmp_path / "test.json"
    file.write_text(json.dumps([{"question": "what is 7 + 1?"}]))
    found = verify(jsonl(*rows), tmp_path / "kept.jsonl", checker, test_sets=[file], test_tasks=[a_task(*PROBLEMS)], console=quiet)
    assert found.rejected == {"test_set": 7}
    details = [row["detail"] for row in rows_of(rejections(tmp_path / "kept.jsonl"))]
    assert details == ["the problem is in t"] * 6 + ["the problem is in test.json"]


def test_published_critiques_are_verified_as_they_are(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    row = {
        "instruction": "Please critique whether the following solution to the question is correct.",
        "input": "Question:\nWhat is 12 + 30?\n\nSolution:\n12 + 30 = 42",
        "output": "Critique:\nThe sum 12 + 30 = 42 is right.\n\nConclusion: right [END]",
    }
    output = tmp_path / "kept.jsonl"
    assert verify(jsonl(row, {**row, "gold": "42", "id": "b"}), output, checker, console=quiet).rejected == {"no_label": 1}
    assert [row["id"] for row in rows_of(output)] == ["b"]


def test_responses_of_published_critiques_load_as_they_are(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    row = {
        "instruction": "Please critique whether the following solution to the question is correct.",
        "input": "Question:\nWhat is 12 + 30?\n\nSolution:\n12 + 30 = 43. \\boxed{43}",
        "output": "Critique:\nIt is right.\n\nConclusion: right [END]",
    }
    assert critique(jsonl(row), tmp_path / "out.jsonl", checker, seed=0, samples=1, console=quiet) == {"critique": 1}
    (made,) = rows_of(tmp_path / "out.jsonl")
    assert (made["problem"], made["response"]) == ("What is 12 + 30?", "12 + 30 = 43. \\boxed{43}")
    assert (made["conclusion"], made["answer"]) == ("wrong", "42")


def test_an_unanswered_critique_may_be_allowed(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    source = jsonl({**GOOD, "critique": "It takes 7 - 2 to be 6. That is wrong."})
    assert verify(source, tmp_path / "kept.jsonl", checker, allow_unanswered=True, console=quiet).kept == 1


def test_an_id_that_stands_twice_is_an_error(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    with pytest.raises(BadRow, match=r"rows\.jsonl:2: field `id`"):
        verify(jsonl(GOOD, GOOD), tmp_path / "kept.jsonl", checker, console=quiet)


def test_likeness() -> None:
    seen = NearDuplicates(0.9)
    seen.add("p", "one", "3 + 4 = 7 and then 7 + 5 = 12 holds")
    assert seen.find("p", "3 + 4 = 7 and then 7 + 5 = 12 holds!") == "one"
    assert seen.find("q", "3 + 4 = 7 and then 7 + 5 = 12 holds") is None
    assert seen.find("p", "3 + 4 = 7 and then 7 + 6 = 13 holds") is None
    sets = TestSets()
    sets.add("short", ["What is 2+2?"])
    assert sets.find("what is 2 + 2") == "short"
    assert sets.find("what is 2 + 3") is None


def responses(jsonl: Jsonl) -> Path:
    rows = [
        {
            "id": str(index),
            "problem": f"What is {index} + 9 - 1?",
            "gold": str(index + 8),
            "response": f"{index} + 9 = {index + 9}\n{index + 9} - 1 = {index + 8}. \\boxed{{{index + 8}}}",
        }
        for index in range(12)
    ]
    return jsonl(*rows, {"id": "gone", "error": "timeout"}, name="responses.jsonl")


def run_all(source: Path, folder: Path, checker: BoxChecker, quiet: Console) -> list[Path]:
    injected, critiques, kept = folder / "injected.jsonl", folder / "critiques.jsonl", folder / "kept.jsonl"
    inject(source, injected, checker, seed=1, console=quiet)
    critique(injected, critiques, checker, seed=1, samples=2, console=quiet)
    verify(critiques, kept, checker, test_sets=[], console=quiet)
    return [injected, critiques, kept, rejections(kept)]


def test_a_stage_that_was_cut_off_ends_in_the_same_files(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    source = responses(jsonl)
    whole = run_all(source, tmp_path / "whole", checker, quiet)
    expected = [path.read_bytes() for path in whole]
    assert [len(rows_of(path)) for path in whole[:3]] == [25, 49, 48]
    cut = run_all(source, tmp_path / "cut", checker, quiet)
    for path in cut[:3]:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        run_all(source, tmp_path / "cut", checker, quiet)
        assert [path.read_bytes() for path in cut] == expected


def test_another_runs_output_is_refused(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    source, output = responses(jsonl), tmp_path / "critiques.jsonl"
    critique(source, output, checker, seed=1, samples=1, console=quiet)
    with pytest.raises(BadRun, match="another run"):
        critique(source, output, checker, seed=2, samples=1, console=quiet)
    foreign = jsonl({"mine": 1}, name="foreign.jsonl")
    with pytest.raises(BadRun, match="choose another output"):
        critique(source, foreign, checker, seed=1, samples=1, console=quiet)


def test_injected_twins_are_wrong_by_their_own_steps(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    counts = inject(responses(jsonl), tmp_path / "out.jsonl", checker, seed=0, console=quiet)
    assert counts == {"right": 12, "wrong": 12, "failed": 1}
    for row in rows_of(tmp_path / "out.jsonl"):
        if row.get("injected"):
            assert checker.extract(row["response"]) != row["gold"]


def test_several_twins_differ_in_what_is_wrong(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    counts = inject(responses(jsonl), tmp_path / "out.jsonl", checker, seed=0, twins=3, console=quiet)
    rows = [row for row in rows_of(tmp_path / "out.jsonl") if row.get("injected")]
    assert counts[WRONG] == len(rows) == len({row["id"] for row in rows}) == 36
    assert len({(row["problem"], row["response"]) for row in rows}) == 36
    assert all(checker.extract(row["response"]) != row["gold"] for row in rows)
    one = inject(responses(jsonl), tmp_path / "one.jsonl", checker, seed=0, console=quiet)
    assert one[WRONG] == 12
    assert [row for row in rows_of(tmp_path / "one.jsonl") if row.get("injected")] == [row for row in rows if "injected/" not in row["id"]]


def test_inject_needs_a_gold(jsonl: Jsonl, tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    with pytest.raises(BadRow, match=r"rows\.jsonl:1: field `gold`"):
        inject(jsonl({"problem": "a", "response": "b"}), tmp_path / "out.jsonl", checker, seed=0, console=quiet)


@pytest.mark.parametrize(
    ("rights", "wrongs", "right", "limit", "taken"),
    [
        (10, 30, 0.5, None, (10, 10)),
        (10, 30, None, 8, (2, 6)),
        (10, 30, 0.5, 8, (4, 4)),
        (10, 0, 1.0, None, (10, 0)),
        (5, 5, 0.0, None, (0, 5)),
    ],
)
def test_the_mix(rights: int, wrongs: int, right: float | None, limit: int | None, taken: tuple[int, int]) -> None:
    assert mix(rights, wrongs, right, limit) == taken


def test_select_draws_by_its_seed(jsonl: Jsonl, tmp_path: Path) -> None:
    source = jsonl(*({"id": index, "conclusion": "right" if index % 3 else "wrong"} for index in range(30)))
    drawn = []
    for seed in (0, 0, 1):
        assert select(source, tmp_path / "out.jsonl", right=0.5, limit=10, seed=seed) == {"right": 5, "wrong": 5}
        drawn.append([row["id"] for row in rows_of(tmp_path / "out.jsonl")])
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0])


def test_select_takes_responses_by_their_label(jsonl: Jsonl, tmp_path: Path) -> None:
    source = jsonl(*({"id": index, "label": "right" if index % 3 else "wrong"} for index in range(9)))
    assert select(source, tmp_path / "out.jsonl", right=0.5, limit=None, seed=0) == {"right": 3, "wrong": 3}
    with pytest.raises(BadRow, match=r"rows\.jsonl:1: field `label`"):
        select(jsonl({"id": 1}), tmp_path / "out.jsonl", right=0.5, limit=None, seed=0)


def test_select_counts_what_it_leaves_out(jsonl: Jsonl, tmp_path: Path) -> None:
    rows = [{"id": 1, "label": "right"}, {"id": 2, "error": "timeout"}, {"id": 3, "label": "wrong", "outcome": "cannot_judge"}]
    assert select(jsonl(*rows), tmp_path / "out.jsonl", right=None, limit=None, seed=0) == {"right": 1, "left out": 2}
    with pytest.raises(BadRow, match=r"expected 'right' or 'wrong', found 'good'"):
        select(jsonl({"label": "good"}), tmp_path / "out.jsonl", right=None, limit=None, seed=0)


def a_task(*problems: Problem) -> Task:
    return Task("t", problems, "f", 100, "here")


PROBLEMS = tuple(Problem(f"t/{index}", f"What is {index} + 1?", str(index + 1), f"{index} + 1 = {index + 1}.") for index in range(6))
PLAN = Plan(model="scripted", n=2, temperatures=(0.5, 1.0), max_tokens=50, seed=None, concurrency=3)


def answer(request: Generation) -> Sequence[Reply]:
    number = int(request.messages[-1]["content"].split()[2])
    wait = 0.0 if number % 2 else 0.01
    return [Reply(f"It is \\boxed{{{number + 1 + index}}}", delay_s=wait) for index in range(request.n)]


async def test_samples_are_labelled_and_in_the_order_of_the_problems(tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    output = tmp_path / "out.jsonl"
    counts = await sample(a_task(*PROBLEMS), output, ScriptedEngine(answer), checker, PLAN, quiet)
    rows = rows_of(output)
    assert counts == {"right": 12, "wrong": 12}
    assert [row["id"] for row in rows] == [f"t/{p}/{t}/{i}" for p in range(6) for t in ("0.5", "1") for i in range(2)]
    assert rows[1]["response"] == "It is \\boxed{2}"
    assert (rows[1]["label"], rows[1]["gold"], rows[1]["temperature"], rows[1]["finish_reason"]) == ("wrong", "1", 0.5, "stop")


async def test_sampling_goes_on_where_it_was_cut_off(tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    output, engine = tmp_path / "out.jsonl", ScriptedEngine(answer)
    await sample(a_task(*PROBLEMS), output, ScriptedEngine(answer), checker, PLAN, quiet)
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) // 2])
    await sample(a_task(*PROBLEMS), output, engine, checker, PLAN, quiet)
    assert output.read_bytes() == whole
    assert 0 < len(engine.requests) < 12


async def test_a_failure_is_a_record_and_an_overloaded_engine_is_asked_again(tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    refused: list[int] = []

    def script(request: Generation) -> Sequence[Reply]:
        number = int(request.messages[-1]["content"].split()[2])
        if number == 1:
            raise BadRequest("the prompt is too long")
        if number == 2 and number not in refused:
            refused.append(number)
            raise Overloaded("full", retry_after_s=0.001)
        return answer(request)

    plan = Plan("scripted", 1, (0.5,), 50, None, 2)
    counts = await sample(a_task(*PROBLEMS), tmp_path / "out.jsonl", ScriptedEngine(script), checker, plan, quiet)
    assert counts == {"right": 5, "failed": 1}
    assert rows_of(tmp_path / "out.jsonl")[1]["error"] == "invalid_request_error: the prompt is too long"


async def test_what_failed_for_a_while_is_asked_for_again_in_its_place(tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    broken = True

    def script(request: Generation) -> Sequence[Reply]:
        if broken and "3 + 1" in request.messages[-1]["content"]:
            raise EngineTimeout("too slow")
        return answer(request)

    output, engine = tmp_path / "out.jsonl", ScriptedEngine(script)
    assert await sample(a_task(*PROBLEMS), output, engine, checker, PLAN, quiet) == {"right": 10, "wrong": 10, "failed": 4, "retry": 4}
    broken = False
    asked = len(engine.requests)
    assert await sample(a_task(*PROBLEMS), output, engine, checker, PLAN, quiet) == {"right": 12, "wrong": 12}
    assert len(engine.requests) == asked + 2
    await sample(a_task(*PROBLEMS), tmp_path / "whole.jsonl", engine, checker, PLAN, quiet)
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "out.earlier.jsonl").exists()


async def test_results_come_in_order_and_no_more_run_than_allowed() -> None:
    running = most = begun = 0

    async def work(item: int) -> int:
        nonlocal running, most, begun
        running, begun = running + 1, begun + 1
        most = max(most, running)
        try:
            await asyncio.sleep(0.001 * (item % 3))
            return item * 2
        finally:
            running -= 1

    async with aclosing(in_order(range(20), work, at_once=3)) as results:
        assert [pair async for pair in results] == [(item, item * 2) for item in range(20)]
    assert (most, begun) == (3, 20)
    async with aclosing(in_order(range(20), work, at_once=3)) as results:
        assert await anext(results) == (0, 0)
    assert running == 0
    assert begun < 20 + AHEAD * 3


async def test_an_engine_that_is_gone_ends_the_stage_and_leaves_what_was_had(tmp_path: Path, checker: BoxChecker, quiet: Console) -> None:
    def script(request: Generation) -> Sequence[Reply]:
        if "3 + 1" in request.messages[-1]["content"]:
            raise EngineUnavailable("gone")
        return answer(request)

    engine = ScriptedEngine(script)
    with pytest.raises(EngineUnavailable):
        await sample(a_task(*PROBLEMS), tmp_path / "out.jsonl", engine, checker, PLAN, quiet)
    assert len(rows_of(tmp_path / "out.jsonl")) == 12
    assert engine.running == 0


def test_solutions_are_right_responses_and_sft_rows(tmp_path: Path, checker: BoxChecker) -> None:
    solutions(a_task(*PROBLEMS), tmp_path / "out.jsonl")
    row = rows_of(tmp_path / "out.jsonl")[2]
    assert row["solution"] == row["response"] == "2 + 1 = 3.\nThe answer is \\boxed{3}."
    with pytest.raises(BadRow, match="no reference solutions"):
        solutions(a_task(Problem("x", "p", "1")), tmp_path / "none.jsonl")
