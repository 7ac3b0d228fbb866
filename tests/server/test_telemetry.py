"""The series of the loop: what is counted, with which labels, and that no caller can add a series."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.exposition import generate_latest

from redraft.errors import EngineFailed, Overloaded
from redraft.types import Calibration, CriticState, Critique, LoopResult, Stage, Stop, Usage, Verdict
from server import telemetry
from server.admission import Admission
from server.config import CalibrationSetting
from server.drift import WINDOW
from server.observe import watching
from server.routes import metrics
from server.telemetry import MODELS, Telemetry
from server.tracing import Tracing
from tests.conftest import Script, verdict
from tests.server.conftest import Serve

Value = Callable[..., float | None]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def series(registry: CollectorRegistry) -> Telemetry:
    return Telemetry(Admission(running=4, waiting=4), registry)


@pytest.fixture
def value(registry: CollectorRegistry) -> Value:
    return lambda name, **labels: registry.get_sample_value(name, labels)


def count(text: str) -> set[str]:
    """The series of an exposition, without values and without the times at which they were made."""
    lines = [line.rsplit(" ", 1)[0] for line in text.splitlines() if line and not line.startswith("#")]
    return {line for line in lines if "_created" not in line}


def test_a_call_is_counted_by_stage_and_model(series: Telemetry, value: Value) -> None:
    series.call(Stage.CRITIQUE, model="critic", seconds=0.3, usage=Usage(100, 20, 60, 2))
    assert value("redraft_stage_seconds_sum", stage="critique", model="critic", track="stable") == 0.3
    assert value("redraft_stage_seconds_bucket", stage="critique", model="critic", track="stable", le="0.25") == 0
    assert value("redraft_stage_seconds_bucket", stage="critique", model="critic", track="stable", le="0.5") == 1
    found = [value("redraft_stage_tokens_total", stage="critique", model="critic", kind=k) for k in ("prompt", "cached", "generated")]
    assert found == [100, 60, 20]


def test_names_beyond_the_limit_share_one(series: Telemetry, registry: CollectorRegistry, value: Value) -> None:
    for number in range(1000):
        series.call(Stage.SOLVE, model=f"name-{number}", seconds=1, usage=Usage(1, 1, 0, 1))
        series.verdict(Critique(0, "", Verdict.CORRECT, 0.9), critic=f"name-{number}")
    models = set(re.findall(r'model="([^"]+)"', generate_latest(registry).decode()))
    assert len(models) == MODELS + 1
    assert value("redraft_stage_seconds_count", stage="solve", model="other", track="stable") == 1000 - MODELS
    assert value("redraft_verdicts_total", critic="other", track="stable", verdict="correct") == 1000 - MODELS


def test_a_revision_counts_under_its_alias_and_a_canary_apart(series: Telemetry, value: Value) -> None:
    series.canaries({"cft": "cft@new"}.get)
    for revision in ("cft@old", "cft@new", "cft@new", "other@new"):
        series.call(Stage.CRITIQUE, model=revision, seconds=1, usage=Usage(1, 1, 0, 1))
        series.verdict(Critique(0, "", Verdict.INCORRECT, 0.1), critic=revision)
    for track, calls in (("stable", 1), ("canary", 2)):
        assert value("redraft_stage_seconds_count", stage="critique", model="cft", track=track) == calls
        assert value("redraft_verdicts_total", critic="cft", track=track, verdict="incorrect") == calls
    assert value("redraft_stage_seconds_count", stage="critique", model="other", track="stable") == 1


def test_what_the_server_was_told_of_a_critic(series: Telemetry, value: Value) -> None:
    series.calibrated("cft", Calibration(0.9, 0.2, 400))
    assert value("redraft_critic_calibration", critic="cft", rate="fpr") == 0.2
    assert value("redraft_critic_calibration", critic="cft", rate="balanced_accuracy") == pytest.approx(0.85)


RATES = Calibration(0.8, 0.3, 400)


def judging(*said: Verdict, critic: CriticState = CriticState.CALIBRATED) -> LoopResult:
    critiques = tuple(Critique(k, "", verdict, None) for k, verdict in enumerate(said))
    return LoopResult(None, "", None, Stop.ROUNDS, critic, (), critiques, (), Usage(40, 9, 30, 2), {}, (), 1.0, None)


@pytest.mark.parametrize(
    ("rights", "wrongs", "low", "high"),
    [(0, 0, 0, 0), (60, 40, 0, 0), (3, 0, 0, 0), (100, 0, 0.1, 0.2), (0, 100, -0.3, -0.2), (70, 30, 0, 0)],
    ids=["silent", "between the rates", "too few to tell", "always right", "always wrong", "a mix"],
)
def test_a_critic_drifts_where_no_mix_of_responses_explains_its_verdicts(
    series: Telemetry, value: Value, rights: int, wrongs: int, low: float, high: float
) -> None:
    series.calibrated("cft", RATES)
    said = [Verdict.CORRECT] * rights + [Verdict.INCORRECT] * wrongs + [Verdict.ABSTAIN] * 5
    series.loop(judging(*said), model="m", critic="cft")
    found = value("redraft_critic_drift", critic="cft")
    assert found is not None
    assert low <= found <= high
    if rights + wrongs:
        assert value("redraft_critic_said_correct", critic="cft") == rights / (rights + wrongs)


def test_drift_forgets_with_time_and_begins_anew_with_another_calibration(series: Telemetry, value: Value) -> None:
    series.calibrated("cft@a", RATES)
    series.loop(judging(*[Verdict.INCORRECT] * WINDOW), model="m", critic="cft@a")
    assert value("redraft_critic_drift", critic="cft") == pytest.approx(-0.29, abs=0.02)
    series.calibrated("cft@a", RATES)
    assert value("redraft_critic_said_correct", critic="cft") == 0, "the same rates again are no news"
    series.loop(judging(*[Verdict.CORRECT, Verdict.INCORRECT] * (WINDOW // 2)), model="m", critic="cft@a")
    assert value("redraft_critic_drift", critic="cft") == 0
    series.calibrated("cft@b", replace(RATES, tpr=0.9))
    series.loop(judging(Verdict.CORRECT), model="m", critic="cft@b")
    assert value("redraft_critic_said_correct", critic="cft") == 1
    series.loop(judging(*[Verdict.INCORRECT] * 9, critic=CriticState.BELOW_BREAK_EVEN), model="m", critic="cft@b")
    assert value("redraft_critic_said_correct", critic="cft") == 1, "only verdicts at the calibration's threshold are compared with it"


def test_the_share_of_cached_prompt_tokens_is_a_series(series: Telemetry, value: Value) -> None:
    series.loop(judging(), model="m", critic="c")
    assert value("redraft_loop_cached_prompt_share_sum") == 0.75


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(EngineFailed("x"), "failed"), (Overloaded("x", retry_after_s=1), "refused"), (None, "ok")],
)
def test_every_end_has_its_outcome(series: Telemetry, value: Value, error: Exception | None, outcome: str) -> None:
    def work() -> None:
        with watching(series, Tracing(), route="solve", model="m", critic="c"):
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error)):
            work()
    assert value("redraft_requests_total", route="solve", outcome=outcome) == 1


async def test_a_loop_fills_every_family(serve: Serve) -> None:
    known = {"scripted": CalibrationSetting(tpr=0.9, fpr=0.2, n=100)}
    served = serve(Script(["x = 1", "x = 2", "x = 2"], critic=verdict(0.8)), calibrations=known)
    async with served.client() as client:
        assert (await client.post("/solve", json={"problem": "x?"})).status_code == 200
        text = (await client.get("/metrics")).text
    empty = {
        "redraft_budget_stops_total": "no budget stopped it",
        "redraft_failures_total": "nothing failed",
    }
    families = dict(re.findall(r"^# TYPE (redraft_(?:loop|stage|queue|requests|verdicts|critic)\w*) (\w+)", text, re.M))
    sampled = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line.startswith("redraft_")}
    missing = [n for n in families if not any(s.startswith(n) for s in sampled) and n not in empty and not n.endswith("_created")]
    assert missing == []
    assert 'redraft_requests_total{outcome="ok",route="solve"} 1.0' in text
    assert 'redraft_queue_seconds_count{route="solve"} 1.0' in text
    assert 'redraft_critic_p_correct_count{critic="scripted"} 2.0' in text
    assert 'redraft_critic_said_correct{critic="scripted"} 1.0' in text
    assert "redraft_loop_cached_prompt_share_count 1.0" in text


async def test_junk_names_and_paths_add_no_series(serve: Serve) -> None:
    served = serve(Script(["= 1"] * 3))
    async with served.client() as client:
        await client.post("/solve", json={"problem": "x?"})
        await client.post("/solve", json={"problem": "x?", "model": "junk"})
        before = count((await client.get("/metrics")).text)
        for number in range(1000):
            junk = f"junk-{number}"
            asked = [
                ("POST", "/solve", {"problem": "x?", "model": junk}),
                ("POST", "/critique", {"problem": "x?", "response": "= 1", "model": junk}),
                ("POST", "/v1/chat/completions", {"model": f"{junk}:loop", "messages": [{"role": "user", "content": "x?"}]}),
                ("GET", f"/{junk}", None),
            ]
            method, path, body = asked[number % len(asked)]
            assert (await client.request(method, path, json=body)).status_code == 404
        after = count((await client.get("/metrics")).text)
    assert after == before


async def test_metrics_speak_the_format_that_is_asked_for(serve: Serve) -> None:
    async with serve(Script(["= 1"])).client() as client:
        plain = await client.get("/metrics")
        open_metrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"])
def test_a_colon_in_a_name_is_kept(accept: str, registry: CollectorRegistry) -> None:
    """vLLM's names have one; with its default escaping the client library would lose it in OpenMetrics."""
    Counter("vllm:tokens", "Tokens.", ["engine"], registry=registry).labels("0").inc(3)
    app = FastAPI()
    metrics.attach(app, registry)
    text = TestClient(app).get("/metrics", headers={"Accept": accept}).text
    assert 'vllm:tokens_total{engine="0"} 3.0' in text


def test_the_buckets_rise_and_reach_what_a_loop_may_take() -> None:
    for buckets in (telemetry.SECONDS, telemetry.TOKENS, telemetry.DRAFTS, telemetry.PROBABILITIES):
        assert list(buckets) == sorted(set(buckets))
    assert telemetry.TOKENS[-1] == 131_072
