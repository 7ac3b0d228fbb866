"""The replay of votes and of adaptive drawing from recorded responses, and the comparisons on it."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET

import pytest

from benchmarks import accuracy_tokens
from benchmarks.accuracy_tokens import Curve, Drawn
from evalsuite.compare import Run
from evalsuite.config import RunConfig, Sampling, Strategy
from redraft.errors import BadRequest
from redraft.options import LoopOptions

OPTIONS = LoopOptions(drafts=16, batch=4)


@pytest.mark.parametrize(
    ("groups", "count"),
    [
        ([0] * 16, 4),
        ([0, 1, 0, 0, 0, 0, 0, 0] + [0] * 8, 7),
        ([0, 1] * 8, 16),
        ([None] * 16, 16),
        ([None, 0, 0, 0, 0] + [1] * 11, 5),
    ],
    ids=["agreed", "one against six", "to the end", "no answers", "answerless ones vote nothing"],
)
def test_drawing_stops_where_the_loop_does(groups: list[int | None], count: int) -> None:
    assert accuracy_tokens.stopped(groups, OPTIONS) == count


@pytest.mark.parametrize(
    ("tokens", "count", "expected"),
    [([10, 20, 30, 40], 4, 100), ([10, 20, 30, 40], 2, 30 + 20 + 20), ([10, 20, 30, 40, 50], 5, 150), ([50, 5, 5, 5, 9, 9], 5, 74 + 9)],
)
def test_what_is_cut_off_costs_what_was_written_meanwhile(tokens: list[float], count: int, expected: float) -> None:
    assert accuracy_tokens.spent(tokens, count, 4) == expected


def made(strategy: Strategy, n: int, problems: int, p: float, name: str, seed: int = 0) -> Run:
    rng = random.Random(seed)
    config = RunConfig("t", "f", "m", strategy, Sampling(n, 100, 0.7, 0))
    graded = {}
    for number in range(problems):
        right = [rng.random() < p for _ in range(n)]
        groups = [[i for i in range(n) if right[i]], [i for i in range(n) if not right[i]]]
        marks = [{"outcome": "right" if hit else "wrong", "answer": "1" if hit else "2"} for hit in right]
        won = max(groups, key=len)
        final = {"outcome": "right" if won is groups[0] else "wrong"}
        sample = {"responses": [{"content": "x" * 40} for _ in right], "completion_tokens": 10 * n, "timing": {"latency_s": 1.0}}
        graded[f"t/{number}"] = ({**sample, "detail": None}, {"marks": marks, "groups": [g for g in groups if g], "final": final})
    return Run(name, config, graded)


def test_a_vote_run_is_replayed_the_same_every_time() -> None:
    run = made(Strategy.VOTE, 16, 30, 0.7, "v")
    first, again = accuracy_tokens.study([run]), accuracy_tokens.study([run])
    assert first == again
    points = {one["name"]: one for one in first["points"]}
    assert set(points) == {"vote: v", "vote@1", "vote@2", "vote@4", "vote@8", "vote@16", "adaptive@16"}
    assert points["vote@16"]["accuracy"]["value"] >= points["vote@1"]["accuracy"]["value"] + 0.1
    assert points["vote@1"]["accuracy"]["value"] == pytest.approx(0.7, abs=0.07)
    assert (points["vote@4"]["tokens"], points["vote@16"]["tokens"]) == (40, 160)
    (adaptive,) = first["comparisons"]
    assert (adaptive["a"], adaptive["b"]) == ("adaptive@16", "vote@16")
    assert adaptive["tokens_ratio"] < 0.8
    assert adaptive["difference"]["low"] <= adaptive["difference"]["value"] <= adaptive["difference"]["high"]
    ET.fromstring(accuracy_tokens.figure(first))


def test_a_difference_is_the_firsts_minus_the_seconds() -> None:
    good, bad = Curve("good", {"a": 1.0, "b": 1.0}, {"a": 2, "b": 2}), Curve("bad", {"a": 0.0, "b": 1.0}, {"a": 4, "b": 4})
    found = accuracy_tokens.against(good, "bad", bad.of(["a", "b"]), 4, ["a", "b"])
    assert (found["difference"]["value"], found["tokens_ratio"]) == (0.5, 0.5)


def test_voting_at_equal_tokens_is_a_mix_of_the_votes_beside_it() -> None:
    low, high = Curve("1", {"a": 0.0}, {"a": 10}), Curve("2", {"a": 1.0}, {"a": 20})
    assert accuracy_tokens.voting_at([high, low], 15, ["a"]) == [0.5]
    assert accuracy_tokens.voting_at([high, low], 25, ["a"]) is None


def test_what_is_right_is_known_by_group() -> None:
    sample = {"responses": [{"content": "aa"}, {"content": "bbbb"}, {"content": ""}], "completion_tokens": 14}
    grade = {"groups": [[0], [1]], "marks": [{"outcome": "wrong"}, {"outcome": "right"}, {"outcome": "no_answer"}]}
    assert accuracy_tokens.drawn(sample, grade) == Drawn((0, 1, None), (4.0, 8.0, 2.0), frozenset({1}))


def test_runs_of_two_tasks_are_refused() -> None:
    one, other = made(Strategy.VOTE, 4, 3, 0.5, "a"), made(Strategy.DIRECT, 1, 3, 0.5, "b")
    elsewhere = Run("c", RunConfig("u", "g", "m", Strategy.DIRECT, Sampling(1, 9, 0.0, 0)), other.graded)
    with pytest.raises(BadRequest, match="different tasks"):
        accuracy_tokens.study([one, elsewhere])
    assert accuracy_tokens.study([one, other])["problems"] == 3
