"""The real Prometheus scrapes the real server under traffic, and every panel of every dashboard is asked."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from benchmarks.servers import free_port, running
from tests.deploy.series import DEPLOY, ours, vllms
from tests.deploy.test_dashboards import named, queries
from tests.e2e.conftest import Server

PROMETHEUS = shutil.which("prometheus")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian's package of that name)"),
    pytest.mark.parametrize("served", ["plugin"], indirect=True),
]
PROBLEM = "Tom has 3 apples and buys 4 more. How many apples does he have?"
SILENT = {
    "redraft_critic_calibration": "this server was told no critic's rates",
    "redraft_critic_said_correct": "and so no critic is held to them",
    "redraft_critic_drift": "nor watched for drift",
    "redraft_adapter_swaps_total": "no adapter is swapped here",
    "redraft_adapter_swap_seconds_bucket": "nor timed",
    "redraft_adapter_refusals_total": "no adapter is refused here",
}


@dataclass(frozen=True)
class Prometheus:
    url: str

    async def ask(self, expression: str) -> list[Any]:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.get(f"{self.url}/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["data"]["result"]
        return found


@pytest.fixture
def prometheus(served: Server, tmp_path: Path) -> Iterator[Prometheus]:
    assert PROMETHEUS is not None
    port, evaluation = free_port(), free_port()
    scrapes = [
        {"job_name": "redraft", "static_configs": [{"targets": [served.url.removeprefix("http://")]}]},
        {
            "job_name": "evalsuite",
            "metrics_path": "/evalsuite.prom",
            "static_configs": [{"targets": [f"127.0.0.1:{evaluation}"]}],
        },
    ]
    config = {"global": {"scrape_interval": "1s"}, "rule_files": [str(DEPLOY / "prometheus/rules/*.yml")], "scrape_configs": scrapes}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    (tmp_path / "evalsuite.prom").write_text(EVALUATED)
    command = [PROMETHEUS, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
    files = subprocess.Popen(
        ["python3", "-m", "http.server", str(evaluation), "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with running(command, health=f"http://127.0.0.1:{port}/-/ready", log=tmp_path / "prometheus.log"):
            yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        files.kill()
        files.wait()


EVALUATED = "\n".join(
    f"# TYPE {name} gauge\n{name}{{{labels}}} 0.5"
    for name, labels in {
        "evalsuite_accuracy": 'task="t",strategy="loop",model="m"',
        "evalsuite_accuracy_low": 'task="t",strategy="loop",model="m"',
        "evalsuite_accuracy_high": 'task="t",strategy="loop",model="m"',
        "evalsuite_completion_tokens_per_problem": 'task="t",strategy="loop",model="m"',
        "evalsuite_loop_transitions": 'task="t",strategy="loop",model="m",transition="wrong->right"',
        "evalsuite_outcomes": 'task="t",strategy="loop",model="m",outcome="correct"',
        "evalsuite_critic_rate": 'task="t",strategy="loop",model="m",critic="c",rate="tpr"',
    }.items()
).join(("", "\n"))


async def traffic(served: Server) -> None:
    """One of each kind: a whole loop, one that a budget stops, a critique, a refusal by the engine, a plain chat."""
    loop = {"drafts": 3, "rounds": 1, "critique": "always", "response_tokens": 48, "critique_tokens": 32, "temperature": 1.2}
    too_long = "apples " * 20_000
    async with served.client() as client:
        answers = await asyncio.gather(
            client.post("/solve", json={"problem": PROBLEM, "loop": loop}),
            client.post("/solve", json={"problem": PROBLEM, "loop": {**loop, "max_calls": 2, "drafts": 2, "temperature": 1.5}}),
            client.post("/solve", json={"problem": PROBLEM, "loop": {**loop, "deadline_s": 1.5, "response_tokens": 512}}),
            client.post("/critique", json={"problem": PROBLEM, "response": "3 + 4 = 7. The answer is \\boxed{7}.", "max_tokens": 32}),
            client.post("/critique", json={"problem": too_long, "response": "7", "max_tokens": 32}),
            client.post(
                "/v1/chat/completions", json={"model": served.model, "messages": [{"role": "user", "content": PROBLEM}], "max_tokens": 16}
            ),
        )
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 400, 200]


async def scrapes(prometheus: Prometheus, count: int) -> None:
    """Wait for so many more good scrapes of both jobs."""
    for job in ("redraft", "evalsuite"):
        begun = None
        while True:
            found = await prometheus.ask(f'sum_over_time(up{{job="{job}"}}[1h])')
            scraped = float(found[0]["value"][1]) if found else 0
            begun = scraped if begun is None else begun
            if scraped >= begun + count:
                break
            await asyncio.sleep(0.3)


async def test_every_panel_returns_data(served: Server, prometheus: Prometheus) -> None:
    await traffic(served)
    await scrapes(prometheus, 2)
    await traffic(served)
    await scrapes(prometheus, 3)
    empty = []
    for where, expression in queries():
        asked = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
        numbers = [float(one["value"][1]) for one in await prometheus.ask(asked)]
        if not any(map(math.isfinite, numbers)) and not named(expression) & SILENT.keys():
            empty.append(f"{where}: {asked}")
    assert empty == []


async def test_the_rules_are_loaded_and_silent_about_a_healthy_server(served: Server, prometheus: Prometheus) -> None:
    await scrapes(prometheus, 2)
    async with httpx.AsyncClient(trust_env=False) as client:
        groups = (await client.get(f"{prometheus.url}/api/v1/rules")).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 10
    assert [rule["name"] for rule in rules if rule["health"] == "err" or rule["state"] == "firing"] == []


async def test_the_listed_series_are_vllms(served: Server) -> None:
    await traffic(served)
    async with served.client() as client:
        text = (await client.get("/metrics")).text
    real = set(re.findall(r"^([a-zA-Z_:][\w:]*)", text, re.MULTILINE))
    assert sorted(vllms() - real) == []
    assert ours() - real <= SILENT.keys()


async def test_openmetrics_can_be_read(served: Server) -> None:
    await traffic(served)
    async with served.client() as client:
        answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"redraft_loop_seconds", "vllm:num_requests_running"} <= families


async def test_junk_adds_no_series_to_vllms_either(served: Server) -> None:
    async with served.client() as client:

        async def count() -> int:
            text = (await client.get("/metrics")).text
            return len({line.rsplit(" ", 1)[0] for line in text.splitlines() if line and not line.startswith("#")})

        async def junk(first: int, last: int) -> None:
            for number in range(first, last):
                await client.get(f"/junk-{number}")
                await client.post("/solve", json={"problem": "x", "model": f"junk-{number}"})
                await client.post("/v1/chat/completions", json={"model": f"junk-{number}", "messages": [{"role": "user", "content": "x"}]})

        await junk(0, 3)
        before = await count()
        await junk(3, 1000)
        assert await count() == before
