"""Whole runs in this process against a real socket: what is asked, graded, kept apart, counted and gone on with."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from evalsuite import store, summary
from evalsuite.config import RunConfig, Sampling, Strategy
from evalsuite.endpoint import Endpoint, Patience
from evalsuite.grade import Grade
from evalsuite.labelled import responses_of
from evalsuite.runner import Pace, Runner, TooManyFailures
from evalsuite.tasks import Problem, Task
from redraft.errors import BadRequest, ModelNotFound
from redraft.prompts import SOLVE_SYSTEM
from redraft.records import Record
from tests.evalsuite.fake_checker import FakeChecker
from tests.evalsuite.scripted_server import Body, Script, ScriptedServer, chat, failure, problem_of, says


class Quiet:
    """A watcher that only remembers."""

    def __init__(self) -> None:
        self.begun: tuple[int, int] | None = None
        self.failures: list[Record] = []

    def begin(self, total: int, already: int) -> None:
        self.begun = (total, already)

    def answered(self, sample: Record) -> None: ...

    def failed(self, failure: Record) -> None:
        self.failures.append(failure)

    def graded(self, grade: Grade) -> None: ...


def task(**golds: str) -> Task:
    problems = tuple(Problem(f"t/{i}", problem, gold) for i, (problem, gold) in enumerate(golds.items()))
    return Task("t", problems, "print", 64, "here")


def config(strategy: Strategy = Strategy.DIRECT, n: int | None = 1, **sampling: Any) -> RunConfig:
    return RunConfig(
        "t", "print", "tiny", strategy, Sampling(n, 64, sampling.pop("temperature", 0.0), sampling.pop("seed", None), **sampling)
    )


async def run(
    directory: Path, made: RunConfig, wanted: Task, script: Script, *, watcher: Quiet | None = None, concurrency: int = 4
) -> tuple[dict[str, Any], ScriptedServer]:
    async with ScriptedServer(script) as server:
        endpoint = Endpoint(server.base_url, patience=Patience(timeout_s=5, retries=1, first_wait_s=0.01))
        with store.opened(directory, made) as opened:
            async with endpoint:
                await Runner(made, wanted, endpoint, opened, FakeChecker(), watcher or Quiet(), Pace(concurrency)).run()
    return summary.of_task(made, wanted, store.load(directory)), server


async def test_every_number_of_a_direct_run_by_hand(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        problem = problem_of(body)
        if problem == "cut":
            return chat(["and then, and then"], finish="length", completion=64)
        finish = "length" if problem == "cut off but said" else "stop"
        contents = {"right": "so 1", "wrong": "so 2", "silent": "I cannot say", "cut off but said": "so 5"}
        return chat([contents[problem]], finish=finish, prompt=7, completion=3)

    golds = {"right": "1", "wrong": "1", "silent": "1", "cut": "1", "cut off but said": "5"}
    value, server = await run(tmp_path, config(), task(**golds), script)
    counts = value["counts"]
    assert counts == {
        "problems": 5, "graded": 5, "right": 2, "wrong": 1, "no_answer": 1, "truncated": 1, "no_gold": 0, "infrastructure_failures": 0,
        "responses": 5, "truncated_responses": 2,
    }  # fmt: skip
    assert value["accuracy"]["value"] == 0.4, "a model that gives no answer is wrong, not missing"
    assert (value["accuracy"]["n"], value["accuracy"]["method"]) == (5, "wilson")
    assert value["tokens"] == {"prompt": 38, "completion": 76, "total": 114, "completion_per_problem": 15.2}
    assert value["latency_s"]["e2e"]["n"] == 5
    assert value["complete"]
    body = server.bodies[0]
    assert body["messages"][0] == {"role": "system", "content": SOLVE_SYSTEM}
    assert {k: body[k] for k in ("model", "n", "max_tokens", "temperature", "path")} == {
        "model": "tiny", "n": 1, "max_tokens": 64, "temperature": 0.0, "path": "/v1/chat/completions",
    }  # fmt: skip
    assert "seed" not in body


async def test_a_vote_counts_equal_answers_and_ties_go_to_the_earliest(tmp_path: Path) -> None:
    contents = {"majority": ["so 2", "so 1", "none", "so 1"], "tie": ["so 2", "so 1", "so 1", "so 2"], "nobody": ["a", "b", "c", "d"]}
    made = config(Strategy.VOTE, 4, temperature=0.7, seed=11)
    value, server = await run(tmp_path, made, task(majority="1", tie="1", nobody="1"), says(contents))
    finals = {r["id"]: store.load(tmp_path).grades[key]["final"] for key, r in store.load(tmp_path).samples.items()}
    assert [finals[f"t/{i}"]["answer"] for i in range(3)] == ["1", "2", None]
    assert [finals[f"t/{i}"]["outcome"] for i in range(3)] == ["right", "wrong", "no_answer"]
    assert value["counts"]["responses"] == 12
    assert value["tokens"]["completion"] == 60
    assert {(b["n"], b["seed"], b["temperature"]) for b in server.bodies} == {(4, 11, 0.7)}


def draft(index: int, answer: str | None, stage: str = "solve", parent: int | None = None) -> dict[str, Any]:
    return {"stage": stage, "index": index, "parent": parent, "content": "...", "answer": answer, "finish_reason": "stop"}


def solved(answer: str | None, *transcript: dict[str, Any], stop: str = "agreed", groups: tuple[tuple[int, ...], ...] = ()) -> web.Response:
    usage = {"prompt_tokens": 30, "completion_tokens": 90, "total_tokens": 120, "loop": {"solve": {"completion_tokens": 80}}}
    outcome = {"stop": stop, "critic": "unused", "candidates": [{"members": group} for group in groups]}
    timing = {"wall_s": 1, "ttft_s": 0.25}
    return web.json_response(
        {"answer": answer, "content": "2", "outcome": outcome, "transcript": transcript, "usage": usage, "timing": timing}
    )


async def test_a_loop_is_judged_by_the_servers_answer_and_counts_all_its_tokens(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        if body["problem"] == "gave up":
            return solved(None, draft(0, None), stop="max_tokens")
        critiques = [{"stage": "critique", "draft": i, "content": "c", "verdict": v, "p_correct": p, "reason": None} for i, v, p in (
            (0, "incorrect", 0.1), (1, "incorrect", 0.4))]  # fmt: skip
        steps = (draft(0, "2"), draft(1, "1"), *critiques, draft(2, "1", "revise", 0), draft(3, "7", "revise", 1))
        return solved("1", *steps, groups=((1, 2), (0,), (3,)))

    made = RunConfig(
        "t", "print", "tiny", Strategy.LOOP, Sampling(2, 64, None, 5, rounds=1, deadline_s=9.0, budget=900), critic="tiny-critic"
    )
    value, server = await run(tmp_path, made, task(**{"revised": "1", "gave up": "2"}), script)
    assert (value["counts"]["right"], value["counts"]["no_answer"]) == (1, 1)
    assert value["tokens"]["completion"] == 180
    sent = next(b for b in server.bodies if b["problem"] == "revised")
    assert sent == {
        "path": "/solve", "problem": "revised", "model": "tiny", "critic": "tiny-critic",
        "loop": {"drafts": 2, "rounds": 1, "response_tokens": 64, "max_tokens": 900, "deadline_s": 9.0, "seed": 5},
    }  # fmt: skip
    loop = value["loop"]
    assert loop["stops"] == {"agreed": 1, "max_tokens": 1}
    assert loop["steps"] == {"solve": 3, "critique": 2, "revise": 2}
    assert loop["draft_to_revision"] == {"wrong->right": 1, "right->wrong": 1}
    assert loop["first_draft_to_final"] == {"wrong->right": 1, "wrong->wrong": 1}
    assert (loop["critic"]["tpr"], loop["critic"]["tnr"]) == (0.0, 1.0)
    assert loop["critic_at_equal_votes"] == {"tpr": 0.0, "tnr": 1.0, "balanced_accuracy": 0.5}, "the revision came after the verdict"
    assert value["latency_s"]["ttft"]["p50"] == 0.25


async def test_a_critic_that_repeats_the_vote_tells_nothing_beside_it(tmp_path: Path) -> None:
    """It calls right what two drafts say, and wrong what one says: of answers with equally many votes it says the same, right or wrong."""

    async def script(body: Body, time: int) -> web.StreamResponse:
        drafts = [draft(0, "1"), draft(1, "1"), draft(2, "2"), draft(3, "3")]
        said = [(0, "correct"), (2, "incorrect"), (3, "incorrect")]
        critiques = [{"stage": "critique", "draft": i, "content": "c", "verdict": v, "p_correct": None, "reason": None} for i, v in said]
        return solved("1", *drafts, *critiques, stop="rounds", groups=((0, 1), (2,), (3,)))

    made = RunConfig("t", "print", "tiny", Strategy.LOOP, Sampling(4, 64, None, 5))
    value, _ = await run(tmp_path, made, task(common="1", again="1", lone="2"), script)
    assert (value["loop"]["critic"]["tpr"], value["loop"]["critic"]["tnr"]) == (pytest.approx(2 / 3), pytest.approx(5 / 6))
    assert value["loop"]["critic_at_equal_votes"] == pytest.approx({"tpr": 4 / 9, "tnr": 5 / 9, "balanced_accuracy": 0.5})


async def test_a_critic_is_measured_on_the_labelled_responses_of_a_run(tmp_path: Path) -> None:
    made = config(Strategy.VOTE, 3, temperature=0.7)
    contents = {"a": ["so 1", "so 2", ""], "b": ["so 3", "so 1", "so 1"]}
    await run(tmp_path / "run", made, task(a="1", b="1"), says(contents))
    labelled = responses_of(tmp_path / "run")
    assert {(p.id, p.response, p.answer) for p in labelled.problems} == {
        ("t/0#0", "so 1", "correct"), ("t/0#1", "so 2", "incorrect"),
        ("t/1#0", "so 3", "incorrect"), ("t/1#1", "so 1", "correct"), ("t/1#2", "so 1", "correct"),
    }  # fmt: skip

    async def script(body: Body, time: int) -> web.StreamResponse:
        said = {"so 1": ("correct", 0.8), "so 2": ("correct", 0.6), "so 3": ("abstain", None)}[body["response"]]
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        return web.json_response(
            {"verdict": said[0], "p_correct": said[1], "critique": "Critique: ...", "model": "c", "usage": usage, "timing": {}}
        )

    judging = RunConfig(labelled.name, labelled.fingerprint, "tiny-critic", Strategy.CRITIQUE, Sampling(None, 512, None, None))
    value, server = await run(tmp_path / "critique", judging, labelled, script)
    assert {b["path"] for b in server.bodies} == {"/critique"}
    assert server.bodies[0].keys() == {"path", "problem", "response", "model", "max_tokens"}
    critic = value["critic"]
    assert (critic["responses"], critic["correct_responses"], critic["abstained"]) == (5, 3, 1)
    assert (critic["tpr"], critic["tnr"], critic["balanced_accuracy"]) == (1.0, 0.0, 0.5)
    assert value["accuracy"]["value"] == pytest.approx(3 / 5), "an abstention is a miss"
    assert value["accuracy"]["n"] == 2, "responses to one problem are one cluster"
    assert critic["brier"] == pytest.approx((3 * 0.2**2 + 0.6**2) / 4)
    assert critic["auroc"] == 1.0
    assert [b["n"] for b in critic["bins"]] == [1, 3]
    assert critic["calibration"] == {"tpr": 1.0, "fpr": 1.0, "n": 4}
    with pytest.raises(BadRequest, match="is a run with strategy critique"):
        responses_of(tmp_path / "critique")


async def test_several_responses_give_avg_pass_and_maj_at_k(tmp_path: Path) -> None:
    contents = {"a": ["so 1", "so 2", "so 2", "so 1"], "b": ["so 1", "so 1", "so 1", "so 1"]}
    value, _ = await run(tmp_path, config(n=4, temperature=0.7), task(a="1", b="1"), says(contents))
    at_k = {name: found["value"] for name, found in value["at_k"].items()}
    assert at_k == pytest.approx({
        "avg@4": 0.75, "pass@1": 0.75, "pass@2": (5 / 6 + 1) / 2, "pass@4": 1.0,
        # Pairs of a: 01 1, 02 1, 03 1, 12 2, 13 2, 23 2, by the earliest of a tie.
        "maj@1": 0.75, "maj@2": (3 / 6 + 1) / 2, "maj@4": 1.0,
    })  # fmt: skip
    assert value["accuracy"]["value"] == 0.75, "direct with n > 1 is avg@n"
    assert value["accuracy"]["method"] == "wilson, clustered by problem"


async def test_an_infrastructure_failure_is_kept_apart_and_asked_again_next_time(tmp_path: Path) -> None:
    broken = True

    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(503, "no engine") if broken and problem_of(body) == "unlucky" else chat(["so 1"])

    watcher = Quiet()
    wanted = task(fine="1", unlucky="1", other="2")
    value, server = await run(tmp_path, config(), wanted, script, watcher=watcher)
    assert value["counts"]["infrastructure_failures"] == 1
    assert value["failures"] == {"service_unavailable": 1}
    assert (value["accuracy"]["value"], value["accuracy"]["n"]) == (0.5, 2), "the failure is neither right nor wrong"
    assert summary.too_many_failures(value)
    assert server.asked["unlucky"] == 2, "it was tried again before it was given up"
    assert [f["id"] for f in watcher.failures] == ["t/1"]
    broken = False
    value, server = await run(tmp_path, config(), wanted, script)
    assert dict(server.asked) == {"unlucky": 1}
    assert (value["counts"]["infrastructure_failures"], value["accuracy"]["n"]) == (0, 3)
    assert not summary.too_many_failures(value)


async def test_a_refused_request_is_a_failure_of_that_problem_and_not_retried(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(400, "prompt too long") if problem_of(body) == "long" else chat(["so 1"])

    value, server = await run(tmp_path, config(), task(long="1", short="1"), script)
    assert value["failures"] == {"invalid_request_error": 1}
    assert server.asked["long"] == 1


async def test_a_dead_server_ends_the_run_early_and_keeps_what_was_answered(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return chat(["so 1"]) if problem_of(body) in ("p0", "p1") else failure(500, "engine dead")

    wanted = task(**{f"p{i}": "1" for i in range(200)})
    with pytest.raises(TooManyFailures, match="engine dead"):
        await run(tmp_path, config(), wanted, script)
    value = summary.of_task(config(), wanted, store.load(tmp_path))
    assert value["counts"]["graded"] + len(store.load(tmp_path).samples) >= 2
    assert value["counts"]["infrastructure_failures"] < 20
    assert not value["complete"]


async def test_a_model_that_is_not_there_ends_the_run_at_once(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return failure(404, "no such model")

    with pytest.raises(ModelNotFound, match="no such model"):
        await run(tmp_path, config(), task(**{f"p{i}": "1" for i in range(50)}), script)


async def test_a_reply_of_another_form_is_the_infrastructures_failure(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return {
            "no choices": web.json_response({"id": 1}),
            "one too few": chat(["so 1"]),
            "fine": chat(["so 1", "so 1"]),
        }[problem_of(body)]

    value, _ = await run(tmp_path, config(Strategy.VOTE, 2), task(**{"no choices": "1", "one too few": "1", "fine": "1"}), script)
    assert value["failures"] == {"engine_error": 2}
    assert value["counts"]["right"] == 1


async def test_as_many_requests_are_in_flight_as_asked_for_and_no_more(tmp_path: Path) -> None:
    full = asyncio.Event()

    async def script(body: Body, time: int) -> web.StreamResponse:
        if server_box[0].in_flight == 7:
            full.set()
        await asyncio.wait_for(full.wait(), 60)
        return chat(["so 1"])

    server_box: list[ScriptedServer] = []
    made, wanted = config(), task(**{f"p{i}": "1" for i in range(30)})
    async with ScriptedServer(script) as server:
        server_box.append(server)
        with store.opened(tmp_path, made) as opened:
            async with Endpoint(server.base_url, connections=7) as endpoint:
                await Runner(made, wanted, endpoint, opened, FakeChecker(), Quiet(), Pace(7)).run()
    assert server.most_in_flight == 7


async def test_a_slow_checker_does_not_hold_up_the_asking(tmp_path: Path) -> None:
    class Slow(FakeChecker):
        async def check(self, gold: str, pred: str) -> Any:
            await asyncio.wait_for(all_asked.wait(), 60)
            return await super().check(gold, pred)

    all_asked = asyncio.Event()

    async def script(body: Body, time: int) -> web.StreamResponse:
        if len(server.bodies) == 20:
            all_asked.set()
        return chat(["so 1"])

    made, wanted = config(), task(**{f"p{i}": "1" for i in range(20)})
    async with ScriptedServer(script) as server:
        with store.opened(tmp_path, made) as opened:
            async with Endpoint(server.base_url) as endpoint:
                await Runner(made, wanted, endpoint, opened, Slow(), Quiet(), Pace(2)).run()
    assert summary.of_task(made, wanted, store.load(tmp_path))["counts"]["right"] == 20


async def test_a_sample_without_its_grade_is_graded_on_resume_and_not_asked_again(tmp_path: Path) -> None:
    wanted = task(a="1", b="2")
    await run(tmp_path, config(), wanted, says({"a": "so 1", "b": "so 1"}))
    path = tmp_path / store.RESULTS
    lines = path.read_text().splitlines(keepends=True)
    grade_of_b = next(x for x in lines if '"grade"' in x and config().key(wanted.problems[1]) in x)
    path.write_text("".join(x for x in lines if x != grade_of_b) + '{"schema": 1, "kind": "gra')
    watcher = Quiet()
    value, server = await run(tmp_path, config(), wanted, says({}), watcher=watcher)
    assert not server.asked
    assert watcher.begun == (2, 1)
    assert (value["counts"]["right"], value["counts"]["wrong"]) == (1, 1)
    assert all(json.loads(line) for line in path.read_text().splitlines()), "the torn line is gone"


async def test_a_larger_limit_asks_only_what_is_new(tmp_path: Path) -> None:
    whole = task(a="1", b="1", c="1")
    part = Task("t", whole.problems[:1], "print", 64, "here")
    await run(tmp_path, config(), part, says({"a": "so 1"}))
    value, server = await run(tmp_path, config(), whole, says({"b": "so 1", "c": "so 2"}))
    assert set(server.asked) == {"b", "c"}
    assert value["counts"]["graded"] == 3
    assert summary.of_task(config(), part, store.load(tmp_path))["counts"]["graded"] == 1


async def test_a_directory_refuses_another_configuration_and_a_second_writer(tmp_path: Path) -> None:
    await run(tmp_path, config(), task(a="1"), says({"a": "so 1"}))
    with pytest.raises(BadRequest, match=r"sampling.temperature: 0.0 there, 0.5 now"), store.opened(tmp_path, config(temperature=0.5)):
        pass
    with store.opened(tmp_path, config()):  # noqa: SIM117 - the outer one is the first writer
        with pytest.raises(BadRequest, match="another process is writing this run"), store.opened(tmp_path, config()):
            pass
    with pytest.raises(BadRequest, match="holds no run"), store.opened(tmp_path / "new", config(), must_exist=True):
        pass


def test_what_decides_a_sample_is_in_its_key_and_nothing_else() -> None:
    problem = Problem("t/0", "a", "1")
    base = config().key(problem)
    changed = [
        config(temperature=0.1).key(problem),
        config(n=2).key(problem),
        config(strategy=Strategy.VOTE).key(problem),
        config(seed=1).key(problem),
        config().key(Problem("t/0", "a", "2")),
        config().key(Problem("t/0", "b", "1")),
        config().key(Problem("t/1", "a", "1")),
        RunConfig("t", "print", "tiny", Strategy.DIRECT, Sampling(1, 64, 0.0, None), critic="c").key(problem),
        RunConfig("t", "print", "other", Strategy.DIRECT, Sampling(1, 64, 0.0, None)).key(problem),
    ]
    assert len({base, *changed}) == len(changed) + 1
    assert config().key(Problem("t/0", "a", "1", solution="anything")) == base


def test_records_of_another_schema_are_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / store.RESULTS).write_text('{"schema": 1, "kind": "failure", "key": "k"}\n{"schema": 2, "kind": "sample", "key": "k"}\n')
    with pytest.raises(BadRequest, match=r"results\.jsonl:2: expected schema 1, found 2"):
        store.load(tmp_path)
