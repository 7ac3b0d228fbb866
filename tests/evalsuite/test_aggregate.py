"""Runs under several seeds: what they say together, what may not be taken together, and `--seeds` as users run it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
from aiohttp import web

from evalsuite import report, store
from evalsuite.aggregate import aggregate, load
from evalsuite.commands.measure import write_summary
from evalsuite.config import Strategy
from redraft.errors import BadRequest
from tests.evalsuite.scripted_server import Body, ScriptedServer, chat, failure, problem_of, rows, run_cli
from tests.evalsuite.test_runner import config, run, task

GOLDS = {f"p{i}": "1" for i in range(10)}
RIGHT = {1: {"p0", "p1", "p2", "p3"}, 2: {"p0", "p1", "p2"}, 3: {"p0", "p1", "p2", "p3", "p4"}}
"""The problems that are answered rightly under each seed."""


async def measured(directory: Path, right: set[str], made: Any = None, golds: dict[str, str] | None = None) -> Path:
    async def script(body: Body, time: int) -> web.StreamResponse:
        if problem_of(body) == "lost":
            return failure(503, "gone")
        said = "so 1" if problem_of(body) in right else "so 2"
        return chat([said] * body.get("n", 1), completion=2 if problem_of(body) in right else 4)

    value, _ = await run(directory, made or config(), task(**(golds or GOLDS)), script)
    write_summary(directory, value)
    return directory


async def three(tmp_path: Path) -> list[Path]:
    return [await measured(tmp_path / f"seed-{seed}", right, config(seed=seed)) for seed, right in RIGHT.items()]


async def test_an_aggregate_by_hand(tmp_path: Path) -> None:
    value = aggregate([load(directory) for directory in await three(tmp_path)])
    assert (value["task"], value["model"], value["strategy"], value["seeds"]) == ("t", "tiny", "direct", [1, 2, 3])
    assert (value["problems"], value["left_out"]) == (10, 0)
    assert value["accuracy"]["value"] == pytest.approx(0.4)
    assert value["sd_over_seeds"] == pytest.approx(stdev([0.4, 0.3, 0.5]))
    assert value["tokens_per_problem"] == pytest.approx((3.2 + 3.4 + 3.0) / 3, abs=0.05)
    assert [(each["seed"], each["accuracy"], each["tokens_per_problem"]) for each in value["runs"]] == [
        (1, 0.4, 3.2), (2, 0.3, 3.4), (3, 0.5, 3.0),
    ]  # fmt: skip
    assert value["latency_s"]["e2e"]["n"] == 30
    assert all(0 < each["latency_p50_s"] <= each["latency_p95_s"] for each in value["runs"])


async def test_the_interval_is_that_of_problems_and_not_of_all_responses(tmp_path: Path) -> None:
    alike = [await measured(tmp_path / f"alike-{seed}", RIGHT[1], config(seed=seed)) for seed in range(8)]
    two = aggregate([load(directory) for directory in alike[:2]])["accuracy"]
    eight = aggregate([load(directory) for directory in alike])
    assert eight["accuracy"]["method"] == "bootstrap by problem"
    assert eight["accuracy"]["n"] == 10
    assert [eight["accuracy"][end] for end in ("low", "high")] == pytest.approx([two[end] for end in ("low", "high")])
    assert eight["accuracy"]["high"] - eight["accuracy"]["low"] > 0.4, "10 problems at 0.4: about 0.6 wide, and 0.2 were 80 answers apart"
    assert eight["sd_over_seeds"] == 0


async def test_the_order_in_which_replies_came_changes_nothing(tmp_path: Path) -> None:
    runs = [load(directory) for directory in await three(tmp_path)]
    for first in range(1, len(GOLDS)):
        ids = sorted(GOLDS)[first:] + sorted(GOLDS)[:first]
        turned = [replace(each, run=replace(each.run, graded={f"t/{i[1:]}": each.run.graded[f"t/{i[1:]}"] for i in ids})) for each in runs]
        assert aggregate(turned)["accuracy"] == aggregate(runs)["accuracy"]


async def test_only_problems_that_every_seed_answered_count(tmp_path: Path) -> None:
    more = {**GOLDS, "lost": "1"}
    first = await measured(tmp_path / "a", set(GOLDS), config(seed=1), more)
    second = await measured(tmp_path / "b", set(), config(seed=2), {"p0": "1", "p1": "1"})
    value = aggregate([load(first), load(second)])
    assert (value["problems"], value["left_out"], value["accuracy"]["value"]) == (2, 8, 0.5)
    assert [each["infrastructure_failures"] for each in value["runs"]] == [1, 0]
    apart = await measured(tmp_path / "c", set(), config(seed=3), {"lost": "1"})
    with pytest.raises(BadRequest, match="no problem that all of them answered"):
        aggregate([load(first), load(apart)])
    unjudged = [await measured(tmp_path / f"d{seed}", set(), config(seed=seed), {"p0": ""}) for seed in (1, 2)]
    with pytest.raises(BadRequest, match="no gold answers, so that there is no accuracy"):
        aggregate([load(directory) for directory in unjudged])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (config(seed=2, temperature=0.5), r"b differs from .*a in more than the seed: sampling\.temperature: 0\.0 there, 0\.5 here"),
        (config(Strategy.VOTE, 2, seed=2), r"sampling\.n: 1 there, 2 here; strategy"),
        (config(seed=1), r"a and .*b have the same seed, 1: the same responses would count twice"),
    ],
)
async def test_what_the_seed_alone_does_not_set_apart_is_refused(tmp_path: Path, other: Any, said: str) -> None:
    a = await measured(tmp_path / "a", RIGHT[1], config(seed=1))
    b = await measured(tmp_path / "b", RIGHT[2], other)
    with pytest.raises(BadRequest, match=said):
        aggregate([load(a), load(b)])


async def test_other_models_and_tasks_are_refused_by_name_and_so_is_one_run(tmp_path: Path) -> None:
    a = await measured(tmp_path / "a", RIGHT[1], config(seed=1))
    b = await measured(tmp_path / "b", RIGHT[2], config(seed=2))
    written = json.loads((b / store.CONFIG).read_text())
    for field, value in (("model", "huge"), ("task", "u"), ("task_fingerprint", "other"), ("strategy", "vote")):
        (b / store.CONFIG).write_text(json.dumps({**written, field: value}))
        code, _, err = await run_cli("aggregate", str(a), str(b))
        assert code == 2
        assert re.search(rf"{field}: '\w+' there, '{value}' here", err), err
    code, _, err = await run_cli("aggregate", str(a))
    assert (code, err) == (2, "evalsuite: an aggregate needs at least two runs\n")


async def test_runs_without_a_seed_are_repetitions(tmp_path: Path) -> None:
    runs = [load(await measured(tmp_path / name, right)) for name, right in zip("ab", RIGHT.values(), strict=False)]
    assert aggregate(runs)["seeds"] == [None, None]


async def test_a_run_that_was_not_finished_is_said_to_be_so(tmp_path: Path) -> None:
    directories = await three(tmp_path)
    (directories[1] / store.SUMMARY).unlink()
    code, _, err = await run_cli("aggregate", *map(str, directories))
    assert code == 2
    assert "seed-2: this run was not finished" in err


async def test_the_command_takes_runs_or_the_directory_that_they_are_in(tmp_path: Path) -> None:
    directories = await three(tmp_path)
    code, by_name, err = await run_cli("aggregate", *map(str, directories), "--json")
    assert code == 0, err
    assert (await run_cli("aggregate", str(tmp_path), "--json"))[1] == by_name
    _, out, _ = await run_cli("aggregate", str(tmp_path))
    assert re.search(r"accuracy +40\.0% \[[\d.]+, [\d.]+\], standard deviation over seeds 10\.0 points", out)
    assert re.search(r"^3 +50\.0% +3 ", out, re.MULTILINE)


async def test_the_page_of_such_runs_has_the_aggregate_and_names_the_seeds(tmp_path: Path) -> None:
    directories = await three(tmp_path)
    page = report.build(directories)
    assert "Over 3 seeds, on 10 problems: accuracy 40.0% [" in page
    assert "tiny direct, seed 2" in page
    other = await measured(tmp_path / "warm", RIGHT[1], config(temperature=0.5, seed=4))
    page = report.build([*directories, other])
    assert "Over " not in page
    assert "tiny direct (4)" in page


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    return rows(tmp_path / "t.jsonl", GOLDS)


async def by_seed(body: Body, time: int) -> web.StreamResponse:
    return chat(["so \\boxed{1}" if problem_of(body) in RIGHT[body["seed"]] else "so \\boxed{2}"])


async def test_seeds_are_runs_of_their_own_that_are_gone_on_with(task_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with ScriptedServer(by_seed) as server:
        command = ("run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(out), "--json")
        code, printed, err = await run_cli(*command, "--seeds", "1,2")
        assert code == 0, err
        assert {body["temperature"] for body in server.bodies} == {0.7}, "greedy responses would be the same under every seed"
        assert sorted({body["seed"] for body in server.bodies}) == [1, 2]
        assert json.loads(printed)["accuracy"]["value"] == pytest.approx(0.35)
        code, printed, err = await run_cli(*command, "--seeds", "1,2,3", "--resume")
    assert code == 0, err
    assert len(server.bodies) == 30, "what was answered is not asked again"
    value = json.loads(printed)
    assert value["directory"] == str(out)
    assert (value["seeds"], value["accuracy"]["value"]) == ([1, 2, 3], pytest.approx(0.4))
    assert {**json.loads((out / "aggregate.json").read_text()), "directory": str(out)} == value
    assert [(out / f"seed-{seed}" / "summary.json").is_file() for seed in (1, 2, 3)] == [True] * 3


async def test_limits_are_for_the_aggregate_and_failures_for_each_seed(task_file: Path, tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(503, "no engine") if body["seed"] == 2 and down else await by_seed(body, time)

    down = False
    async with ScriptedServer(script) as server:
        command = ("run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(tmp_path / "out"), "--retries", "0")
        code, out, err = await run_cli(*command, "--seeds", "1,2,3", "--min-accuracy", "0.39")
        assert code == 0, err
        assert "standard deviation over seeds 10.0 points" in out
        assert (await run_cli(*command, "--seeds", "1,2,3", "--min-accuracy", "0.41"))[0] == 3
        assert (await run_cli(*command, "--seeds", "1,2,3", "--max-p95-latency", "0"))[0] == 4
        down = True
        code, _, err = await run_cli(*command[:-4], "--out", str(tmp_path / "other"), "--retries", "0", "--seeds", "1,2,3")
    assert code == 5
    assert "got no answer from the infrastructure" in err
    assert not (tmp_path / "other" / "aggregate.json").exists()
    assert not (tmp_path / "other" / "seed-3").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seeds", "1,x"), "--seeds: expected whole numbers with commas between them, such as 1,2,3, found '1,x'"),
        (("--seeds", "1,1"), "--seeds: expected at least two different seeds"),
        (("--seeds", "7"), "--seed is for one"),
        (("--seeds", "1,2", "--seed", "3"), "give either --seed or --seeds"),
        (("--seeds", "1,2", "--resume"), "seed-1 holds no run"),
    ],
)
async def test_wrong_seeds_are_one_line(task_file: Path, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    async with ScriptedServer(by_seed) as server:
        common = ("run", "--task", str(task_file), "--base-url", server.base_url, "--out", str(tmp_path / "out"))
        code, _, err = await run_cli(*common, *arguments)
    assert code == 2
    assert said in err
    assert not server.bodies


async def test_without_a_directory_the_seeds_have_one_together(task_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with ScriptedServer(by_seed) as server:
        for seeds in ("1,2", "3,1"):
            code, _, err = await run_cli("run", "--task", str(task_file), "--base-url", server.base_url, "--seeds", seeds)
            assert code == 0, err
    (together,) = (tmp_path / "runs").iterdir()
    assert together.name.startswith("t-tiny-direct-")
    assert together.name.endswith("-seeds")
    assert sorted(path.name for path in together.iterdir()) == ["aggregate.json", "seed-1", "seed-2", "seed-3"]
