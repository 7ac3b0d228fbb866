"""Two runs side by side, and saved responses checked again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalsuite import compare, rescore, store, summary
from evalsuite.commands.measure import write_summary
from evalsuite.config import RunConfig, Strategy
from evalsuite.slo import Slo
from evalsuite.tasks import Task
from redraft.errors import BadRequest
from tests.evalsuite.fake_checker import FakeChecker, FakeVerdict
from tests.evalsuite.scripted_server import says
from tests.evalsuite.test_runner import config, run, task

GOLDS = {f"p{i}": "1" for i in range(10)}


async def measured(directory: Path, made: RunConfig, contents: dict[str, Any], wanted: Task | None = None) -> compare.Run:
    await run(directory, made, wanted or task(**GOLDS), says(contents))
    return compare.load(directory)


async def test_a_paired_comparison_by_hand(tmp_path: Path) -> None:
    a = await measured(tmp_path / "a", config(), {p: "so 1" if i < 4 else "so 2" for i, p in enumerate(GOLDS)})
    b = await measured(tmp_path / "b", config(seed=1), {p: "so 1" if i >= 3 else "so 2" for i, p in enumerate(GOLDS)})
    value = compare.compare(a, b)
    assert (value["a"]["accuracy"], value["b"]["accuracy"]) == (0.4, 0.7)
    assert value["difference"]["value"] == pytest.approx(0.3)
    assert value["difference"]["low"] < 0.3 < value["difference"]["high"]
    # Problems 0-2 only A, 4-9 only B: two-sided binomial(9, 3) = 2 * (1 + 9 + 36 + 84) / 512.
    assert value["mcnemar"] == {"only_a_right": 3, "only_b_right": 6, "p": pytest.approx(260 / 512)}
    assert value["at_equal_tokens"] is None
    assert compare.compare(b, a)["difference"]["value"] == pytest.approx(-0.3)


async def test_at_equal_tokens_the_dearer_vote_is_cut_down(tmp_path: Path) -> None:
    votes = {p: ["so 2", "so 1", "so 1", "so 1"] for p in GOLDS}
    a = await measured(tmp_path / "a", config(Strategy.VOTE, 4, temperature=0.7), votes)
    b = await measured(tmp_path / "b", config(), {p: "so 1" if i < 6 else "so 2" for i, p in enumerate(GOLDS)})
    value = compare.compare(a, b)
    assert (value["a"]["accuracy"], value["b"]["accuracy"]) == (1.0, 0.6)
    assert (value["a"]["tokens_per_problem"], value["b"]["tokens_per_problem"]) == (20, 5)
    equal = value["at_equal_tokens"]
    assert (equal["cut"], equal["maj_at"], equal["tokens_per_problem"]) == ("a", 1, 5)
    assert (equal["accuracy_a"], equal["accuracy_b"]) == (pytest.approx(0.75), 0.6)
    assert equal["difference"]["value"] == pytest.approx(-0.15)
    mirrored = compare.compare(b, a)["at_equal_tokens"]
    assert (mirrored["cut"], mirrored["difference"]["value"]) == ("b", pytest.approx(0.15))


async def test_between_two_numbers_of_votes_the_cut_is_a_mix_and_below_one_there_is_none(tmp_path: Path) -> None:
    votes = {p: ["so 2", "so 1", "so 1", "so 1"] for p in GOLDS}
    a = await measured(tmp_path / "a", config(Strategy.VOTE, 4, temperature=0.7), votes)
    for tokens, expected in ((12.5, (2.5, 0.5 * 0.5 + 0.5 * 1.0)), (20, None), (4, None)):
        b = compare.Run(
            "b", config(), {i: ({**s, "completion_tokens": tokens}, {**g, "marks": g["marks"][:1]}) for i, (s, g) in a.graded.items()}
        )
        equal = compare.compare(a, b)["at_equal_tokens"]
        # maj@2: the wrong first response is in half of the pairs and wins the tie; maj@3: two right ones are always there.
        assert equal is None if expected is None else (equal["maj_at"], equal["accuracy_a"]) == pytest.approx(expected)


async def test_shares_of_several_responses_are_not_given_to_mcnemar(tmp_path: Path) -> None:
    a = await measured(tmp_path / "a", config(n=2, temperature=0.7), {p: ["so 1", "so 2"] for p in GOLDS})
    b = await measured(tmp_path / "b", config(), dict.fromkeys(GOLDS, "so 1"))
    value = compare.compare(a, b)
    assert value["mcnemar"] is None
    assert value["difference"]["value"] == 0.5
    assert (value["a"]["tokens_per_problem"], value["b"]["tokens_per_problem"]) == (5, 5), "each response is an answer of its own"


async def test_only_problems_of_both_count_and_different_tasks_are_refused(tmp_path: Path) -> None:
    a = await measured(tmp_path / "a", config(), dict.fromkeys(GOLDS, "so 1"))
    part = Task("t", task(**GOLDS).problems[:3], "print", 64, "here")
    b = await measured(tmp_path / "b", config(), dict.fromkeys(GOLDS, "so 2"), part)
    value = compare.compare(a, b)
    assert (value["problems"], value["only_in_a"], value["only_in_b"]) == (3, 7, 0)
    other = compare.Run("other", RunConfig("t", "another", "tiny", Strategy.DIRECT, config().sampling), a.graded)
    with pytest.raises(BadRequest, match=r"different tasks: .* is of t \(print\), other of t \(another\)"):
        compare.compare(a, other)
    with pytest.raises(BadRequest, match="no graded problem in common"):
        compare.compare(a, compare.Run("empty", config(), {}))
    with pytest.raises(BadRequest, match=r"run\.json: no such file"):
        compare.load(tmp_path)


async def test_rescoring_appends_new_grades_and_says_what_changed(tmp_path: Path) -> None:
    class Lenient(FakeChecker):
        async def check(self, gold: str, pred: str) -> FakeVerdict:
            return FakeVerdict(equal=abs(int(gold) - int(pred)) <= 1, how="lenient")

    slo = Slo.parse("e2e=60s")
    made = await measured(tmp_path, config(), {p: "so 2" if i < 4 else "so 1" if i < 8 else "no" for i, p in enumerate(GOLDS)})
    write_summary(tmp_path, summary.of_task(made.config, task(**GOLDS), store.load(tmp_path), slo))
    lines = (tmp_path / store.RESULTS).read_text().splitlines()
    rescored = await rescore.rescore(tmp_path, Lenient())
    assert rescored.changes == {"wrong->right": 4}
    assert rescored.summary["accuracy"]["value"] == 0.8
    assert rescored.summary["counts"]["no_answer"] == 2
    assert rescored.summary["goodput"]["share"] == 1.0
    assert rescored.summary["task"]["source"] == "here"
    after = (tmp_path / store.RESULTS).read_text().splitlines()
    assert after[: len(lines)] == lines, "what was there is never rewritten"
    assert len(after) == len(lines) + 10
    assert (await rescore.rescore(tmp_path, FakeChecker())).changes == {"right->wrong": 4}
    with pytest.raises(BadRequest, match="no such file"):
        await rescore.rescore(tmp_path / "none", FakeChecker())
