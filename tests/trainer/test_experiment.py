"""The pieces of `benchmarks.cft_vs_sft`: equal tokens, the anchor's share, honest numbers, and a whole run on a tiny model that resumes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import cft_vs_sft
from benchmarks.arms import ANCHOR, ARMS, CFT, GOLD, NOISY, Plan, anchored, arm_rows, boxed, cut, make_data, trained_lengths, write
from benchmarks.critics import Judged, balanced, pooled, solver
from benchmarks.exam import Paper, examine
from trainer.config import Method

from .conftest import rows_of


@pytest.fixture
def plan(tiny_model: Path) -> Plan:
    return Plan(
        model=str(tiny_model),
        task="redraft-arith",
        seeds=1,
        first_seed=0,
        problems=4,
        tokens=1200,
        anchor=0.25,
        rank=2,
        learning_rate=1e-3,
        batch_size=4,
        test_problems=2,
        critique_tokens=3,
        answer_tokens=3,
        approach="stepwise",
        wording="varied",
        responses=None,
        test_responses=None,
    )


def test_rows_are_cut_to_the_tokens_in_whole_passes() -> None:
    lengths = [3, 5, 7, 11]
    taken = cut(lengths, 60, seed=1)
    assert abs(sum(lengths[place] for place in taken) - 60) <= 6
    assert sorted(taken[:4]) == sorted(taken[4:8]) == [0, 1, 2, 3]
    assert cut(lengths, 60, seed=1) == taken != cut(lengths, 60, seed=2)
    with pytest.raises(ValueError, match="expected rows"):
        cut([], 60, seed=1)


@pytest.mark.parametrize(("share", "golds"), [(0.1, 30), (0.3, 30), (0.3, 2)])
def test_the_anchor_has_its_share(share: float, golds: int) -> None:
    rows = anchored(90, golds, share, seed=0)
    assert sum(is_gold for _, is_gold in rows) / len(rows) == pytest.approx(share, abs=0.01)
    assert max(place for place, is_gold in rows if is_gold) < golds


def test_every_arm_learns_as_many_tokens_of_the_same_problems(plan: Plan, tmp_path: Path, quiet: Console) -> None:
    data = make_data(plan, 0, tmp_path, [], quiet)
    problems = {row["problem"] for row in rows_of(data[GOLD])}
    assert len(problems) == 4
    assert {row["problem"] for row in rows_of(data[CFT])} == {row["problem"] for row in rows_of(data[NOISY])} == problems
    assert any(row["solution"] not in {gold["solution"] for gold in rows_of(data[GOLD])} for row in rows_of(data[NOISY]))
    for arm in ARMS:
        path = arm_rows(plan, arm, data, 0, tmp_path)
        lengths = trained_lengths(plan.model, path, Method.SFT)
        assert abs(sum(lengths) - plan.tokens) <= max(lengths)
        critiques = [row for row in rows_of(path) if row["completion"].endswith("[END]")]
        assert bool(critiques) == (arm in (CFT, ANCHOR))
        assert (len(critiques) < len(rows_of(path))) == (arm != CFT)


class Scripted:
    """A candidate that always says the same, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def judge(self, problem: str, response: str, max_tokens: int) -> dict[str, Any]:
        self.asked += 1
        return {"verdict": "correct", "p_correct": 0.75, "tokens": max_tokens}

    async def solve(self, problem: str, max_tokens: int) -> dict[str, Any]:
        self.asked += 1
        return {"text": "\\boxed{4}", "tokens": max_tokens, "whole": True}


def examined_by(candidate: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def without_a_server(plan: Plan, asked: list[Paper], work: Path, console: Console) -> Iterator[cft_vs_sft.Examine]:
        yield lambda entrant: asyncio.run(examine(candidate, asked, entrant.log, console))

    monkeypatch.setattr(cft_vs_sft, "served_exam", without_a_server)


def test_a_run_goes_on_and_ends_in_the_same_numbers(plan: Plan, tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(**{**vars(plan), "tokens": 300})
    monkeypatch.setattr(cft_vs_sft, "ARMS", (GOLD, CFT))
    examined_by(candidate := Scripted(), monkeypatch)
    first = cft_vs_sft.run(plan, tmp_path, quiet)
    assert candidate.asked == 3 * 2 * (4 + 2)
    assert set(first["arms"]) == {"base", GOLD, CFT}
    assert [row["arm"] for row in first["trained"]] == [GOLD, CFT]
    critic = first["arms"][CFT]["critic/held_out_kinds"]["pooled"]
    assert (critic["responses"], critic["balanced_accuracy"]["value"]) == (4, 0.5)
    assert "minus_sft_gold" in first["arms"][CFT]["direct/in_domain"]
    assert cft_vs_sft.table(first["arms"]).row_count == 3
    log = tmp_path / "seed-0" / "measured-cft-critic-in_domain.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])
    examined_by(again := Scripted(), monkeypatch)
    assert cft_vs_sft.run(plan, tmp_path, quiet) == first
    assert log.read_bytes() == whole
    assert again.asked == 3

    @contextmanager
    def none(*given: Any) -> Iterator[cft_vs_sft.Examine]:
        raise AssertionError("a finished run starts no server")
        yield

    monkeypatch.setattr(cft_vs_sft, "served_exam", none)
    assert cft_vs_sft.run(plan, tmp_path, quiet) == first


def judged(problem: str, correct: bool, verdict: str, p: float | None = None) -> Judged:
    return Judged(problem, correct, verdict, p)


def test_a_critics_numbers() -> None:
    run = [
        judged("a", True, "correct", 0.9),
        judged("a", False, "incorrect", 0.2),
        judged("b", True, "correct", 0.6),
        judged("b", False, "correct", 0.7),
        judged("c", True, "abstain"),
        judged("c", False, "incorrect", 0.1),
    ]
    found = balanced(run).as_json()
    assert found["balanced_accuracy"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["balanced_accuracy_strict"] == pytest.approx(2 / 3)
    assert found["balanced_accuracy"]["low"] < found["balanced_accuracy"]["value"] <= found["balanced_accuracy"]["high"]
    both = pooled([run, run])
    assert (both["responses"], both["tnr"]["value"], both["tnr"]["n"]) == (12, pytest.approx(2 / 3), 3)
    assert balanced([judged("a", True, "correct")]).balanced_accuracy is None


def test_a_solvers_numbers() -> None:
    rows = [
        {"problem": "a", "right": True, "well_formed": True, "tokens": 4},
        {"problem": "b", "right": False, "well_formed": True, "tokens": 4},
        {"problem": "c", "right": False, "well_formed": False, "tokens": 10},
    ]
    found = solver([rows])
    assert [found[name]["value"] for name in ("accuracy", "well_formed", "given_well_formed")] == pytest.approx([1 / 3, 2 / 3, 1 / 2])
    assert found["tokens_per_answer"] == 6
    assert solver([[rows[2]]])["given_well_formed"] is None


def test_a_folder_belongs_to_one_plan(plan: Plan, tmp_path: Path) -> None:
    cft_vs_sft.settled(plan, tmp_path)
    cft_vs_sft.settled(Plan(**{**vars(plan), "seeds": 3, "first_seed": 1}), tmp_path)
    with pytest.raises(SystemExit, match="another plan"):
        cft_vs_sft.settled(Plan(**{**vars(plan), "tokens": 1}), tmp_path)


def test_responses_of_a_model_are_a_kind_of_their_own(plan: Plan, tmp_path: Path) -> None:
    common = {"problem": "1+1?", "gold": "2", "solution": "1 + 1 = 2"}
    rows = [{"id": str(n), "response": str(n), "label": "right" if n == 2 else "wrong", **common} for n in (2, 3)]
    path = tmp_path / "sampled.jsonl"
    write(path, [*rows, {**rows[0], "id": "other", "problem": "1+2?", "gold": "3"}])
    plan = Plan(**{**vars(plan), "test_responses": str(path), "seeds": 2, "first_seed": 2})
    tests = dict.fromkeys((plan.task, plan.held_out, cft_vs_sft.SAMPLED), path)
    *_, paper = cft_vs_sft.papers(plan, tests)
    assert (paper.name, [row["id"] for row in paper.responses]) == ("sampled", ["2", "3", "other"])
    assert [(problem.problem, problem.answer) for problem in paper.problems] == [("1+1?", "2"), ("1+2?", "3")]
    assert list(plan.runs) == [2, 3]


def test_a_gold_solution_is_learnt_in_the_form_that_is_asked_for() -> None:
    assert boxed("1 + 1 = 2", "2") == "1 + 1 = 2\n\\boxed{2}"
    assert boxed("so \\boxed{2}", "2") == "so \\boxed{2}"
