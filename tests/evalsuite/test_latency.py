"""Streams, first tokens, gaps, objectives and loads."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from evalsuite import store, summary
from evalsuite.endpoint import Answered, Endpoint, Patience
from evalsuite.runner import Pace, Runner
from evalsuite.slo import Slo
from evalsuite.sse import Assembler
from redraft.errors import BadRequest, EngineFailed, EngineUnavailable
from tests.evalsuite.fake_checker import FakeChecker
from tests.evalsuite.scripted_server import Body, ScriptedServer, Stream, chat, problem_of, rows, run_cli, streamed
from tests.evalsuite.test_runner import Quiet, config, task


def event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def piece(index: int, text: str, finish: str | None = None, field: str = "content") -> bytes:
    return event({"choices": [{"index": index, "delta": {field: text}, "finish_reason": finish}]})


USAGE = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 4}})


def test_a_stream_becomes_the_same_body_however_it_is_cut_into_packets() -> None:
    data = b": keep-alive\n\n" + piece(0, "so ") + piece(1, "x", field="reasoning_content") + piece(1, "é") + piece(0, "1", "stop")
    data += piece(1, "", "length") + USAGE + b"data: [DONE]\n\n"
    bodies = []
    for size in (1, 7, len(data)):
        assembler = Assembler(0.0)
        for i in range(0, len(data), size):
            assembler.feed(data[i : i + size], float(i))
        bodies.append(assembler.body())
    assert bodies[0] == bodies[1] == bodies[2]
    assert [c["message"] for c in bodies[0]["choices"]] == [{"content": "so 1", "reasoning": ""}, {"content": "é", "reasoning": "x"}]
    assert [c["finish_reason"] for c in bodies[0]["choices"]] == ["stop", "length"]
    assert bodies[0]["usage"]["completion_tokens"] == 4


def test_first_token_and_gaps_are_those_of_text_and_of_one_choice() -> None:
    assembler = Assembler(10.0)
    assembler.feed(piece(0, ""), 10.1)
    assembler.feed(piece(0, "a"), 10.5)
    assembler.feed(piece(1, "b"), 10.7)
    assembler.feed(piece(0, "c"), 11.0)
    assembler.feed(piece(1, "d"), 11.1)
    assert assembler.ttft_s == pytest.approx(0.5)
    assert assembler.gaps_ms == pytest.approx([500, 400])


def test_what_is_wrong_with_a_stream_is_said() -> None:
    with pytest.raises(EngineFailed, match="broke off"):
        Assembler(0).body()
    half = Assembler(0)
    half.feed(piece(0, "a"), 1)
    with pytest.raises(EngineFailed, match="broke off"):
        half.body()
    half.feed(piece(0, "", "stop"), 1)
    with pytest.raises(EngineFailed, match="no usage"):
        half.body()
    with pytest.raises(EngineUnavailable, match="engine died"):
        half.feed(event({"error": {"message": "engine died", "code": 503}}), 2)
    with pytest.raises(EngineFailed, match="not JSON"):
        half.feed(b"data: {oops\n", 2)


async def test_a_streamed_run_knows_its_first_tokens_and_tries_a_broken_stream_again(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse | Stream:
        return await streamed(body, ["so", " ", "1"], pause_s=0.01, cut=time == 1 and problem_of(body) == "b")

    made, wanted = config(), task(a="1", b="1")
    async with ScriptedServer(script) as server:
        with store.opened(tmp_path, made) as opened:
            async with Endpoint(server.base_url, patience=Patience(retries=1, first_wait_s=0.01)) as endpoint:
                await Runner(made, wanted, endpoint, opened, FakeChecker(), Quiet(), Pace(2, stream=True)).run()
    samples = {s["id"]: s for s in store.load(tmp_path).samples.values()}
    assert [samples[f"t/{i}"]["timing"]["attempts"] for i in range(2)] == [1, 2]
    for sample in samples.values():
        timing = sample["timing"]
        assert sample["responses"][0]["content"] == "so 1"
        assert 0.01 <= timing["ttft_s"] <= timing["latency_s"]
        assert len(timing["gaps_ms"]) == 2
        assert sum(timing["gaps_ms"]) / 1000 <= timing["latency_s"]


async def test_an_open_loop_does_not_wait_for_answers(tmp_path: Path) -> None:
    everybody = asyncio.Event()

    async def script(body: Body, time: int) -> web.StreamResponse:
        if server.in_flight == 40:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), 60)
        return chat(["so 1"])

    made, wanted = config(), task(**{f"p{i}": "1" for i in range(40)})
    async with ScriptedServer(script) as server:
        with store.opened(tmp_path, made) as opened:
            pace = Pace(concurrency=1, rate=400)
            async with Endpoint(server.base_url, connections=pace.connections) as endpoint:
                await Runner(made, wanted, endpoint, opened, FakeChecker(), Quiet(), pace).run()
    assert server.most_in_flight == 40


async def test_arrivals_are_a_poisson_process_that_is_the_same_in_every_run_and_what_is_late_is_known(tmp_path: Path) -> None:
    class Scheduled(Endpoint):
        """Sends everything an hour late, and remembers when it was due."""

        async def post(self, path: str, payload: Any, *, stream: bool = False, due: float | None = None) -> Answered:
            assert due is not None
            dues.append(due)
            return await super().post(path, payload, stream=stream, due=due - 3600)

    async def script(body: Body, time: int) -> web.StreamResponse:
        return chat(["so 1"])

    made, wanted = config(), task(**{f"p{i}": "1" for i in range(30)})
    schedules = []
    for name in ("one", "two"):
        dues: list[float] = []
        async with ScriptedServer(script) as server:
            with store.opened(tmp_path / name, made) as opened:
                async with Scheduled(server.base_url, connections=0) as endpoint:
                    await Runner(made, wanted, endpoint, opened, FakeChecker(), Quiet(), Pace(rate=1000)).run()
        schedules.append([due - dues[0] for due in dues])
    assert schedules[0] == pytest.approx(schedules[1])
    assert schedules[0] == sorted(schedules[0])
    assert 10 < 1000 * schedules[0][-1] < 60, "about 29 thousandths of a second for 29 gaps"
    queue = summary.of_task(made, wanted, store.load(tmp_path / "one"))["latency_s"]["queue"]
    assert queue["n"] == 30
    assert 3600 <= queue["p50"] <= queue["p90"] <= queue["p95"] <= queue["p99"] <= queue["max"]


def test_an_objective_is_kept_only_when_every_time_was_seen_and_in_time() -> None:
    slo = Slo.parse("ttft=500ms, e2e=10s")
    assert slo.limits == {"ttft": 0.5, "e2e": 10.0}
    assert slo.needs_stream
    assert not Slo.parse("e2e=2.5s").needs_stream
    assert [Slo.parse("queue=10ms").met({"queue_s": late}) for late in (0.01, 0.02)] == [True, False]
    timings = [
        {"ttft_s": 0.5, "latency_s": 10},
        {"ttft_s": 0.6, "latency_s": 1},
        {"ttft_s": None, "latency_s": 1},
        {"ttft_s": 0.1, "latency_s": 11},
    ]
    assert slo.goodput(timings, 4.0) == {"slo_s": {"ttft": 0.5, "e2e": 10.0}, "good": 1, "share": 0.25, "good_per_s": 0.25}
    for text in ("ttft", "speed=1s", "e2e=1", "e2e=1h", ""):
        with pytest.raises(BadRequest, match="--slo: expected"):
            Slo.parse(text)


async def test_a_sweep_runs_each_load_in_a_folder_of_its_own(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse | Stream:
        return await streamed(body, ["so", " \\boxed{1}"])

    path = rows(tmp_path / "t.jsonl", {f"p{i}": "1" for i in range(6)})
    async with ScriptedServer(script) as server:
        command = ("sweep", "--task", str(path), "--base-url", server.base_url, "--out", str(tmp_path / "out"), "--slo", "ttft=60s")
        code, out, err = await run_cli(*command, "--concurrency", "1,3", "--json")
        assert code == 0, err
        assert 1 <= server.most_in_flight <= 3
        value = json.loads(out)
        assert list(value) == ["concurrency-1", "concurrency-3"]
        assert value["concurrency-3"]["goodput"]["share"] == 1.0
        assert value["concurrency-3"]["latency_s"]["itl"]["n"] == 6
        assert (tmp_path / "out" / "concurrency-1" / "summary.json").is_file()
        code, out, err = await run_cli(*command, "--rate", "200")
        assert code == 0, err
        assert re.search(r"^rate-200 .* p50 .* ms, p95 ", out, re.MULTILINE), "one line, however narrow a pipe is"
        for wrong, said in (
            (("--rate", "fast"), "--rate: expected numbers with commas between them, such as 0.5,1,2, found 'fast'"),
            ((), "either --concurrency or --rate"),
            (("--rate", "0"), "above 0"),
        ):
            code, _, err = await run_cli(*command, *wrong)
            assert code == 2
            assert said in err
