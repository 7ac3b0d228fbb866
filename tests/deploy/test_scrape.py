"""A real Prometheus scrapes a server over the scripted engine: every series of ours, and every panel that asks for them alone, has
numbers; an exemplar leads to a trace. What needs vLLM's own series is asked in the end-to-end tests.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

from benchmarks.servers import free_port, running
from redraft.engine import Generation
from redraft.scripted import Reply, ScriptedEngine
from server import services
from server.adapters.parts import Adapters
from server.admission import Admission
from server.app import attach_routes
from server.config import CalibrationSetting, LoopDefaults, ServeSettings
from server.routes import metrics
from server.telemetry import Telemetry
from tests.conftest import Script, verdict
from tests.deploy.series import ours
from tests.deploy.test_dashboards import named, queries
from tests.openai_server import listening
from tests.server.adapters.making import Home, ScriptedHost
from tests.server.test_tracing import collector, sent

PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian's package of that name)")
SCRAPE_S = 0.25
SLOW = "slowly"


class Engine(ScriptedEngine):
    """The base model and what its host loaded; drafts that disagree, and slow ones for who asks for them."""

    def __init__(self, host: ScriptedHost) -> None:
        plain = Script([rf"\boxed{{{n}}}" for n in (4, 5, 6)], critic=verdict(0.2), reviser=lambda request: [Reply(r"\boxed{4}")])

        def script(request: Generation) -> Sequence[Reply]:
            slow = any(SLOW in message["content"] for message in request.messages)
            return [Reply("word " * 400, delay_s=0.01)] * request.n if slow else plain(request)

        super().__init__(script, models=())
        self._host = host

    async def models(self) -> list[str]:
        self._models = ["tiny", *self._host.loaded]
        return self._models


@dataclass
class Site:
    """The server, the traces that it sent, and Prometheus."""

    server: httpx.AsyncClient
    prometheus: httpx.AsyncClient
    home: Home
    traces: list[ExportTraceServiceRequest]

    async def asked(self, path: str, **params: Any) -> Any:
        reply = await self.prometheus.get(f"/api/v1/{path}", params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()["data"]

    async def numbers(self, expression: str) -> list[float]:
        return [float(one["value"][1]) for one in (await self.asked("query", query=expression))["result"]]

    async def scraped(self, times: int) -> None:
        """Wait for so many more scrapes."""
        before = sum(await self.numbers("count_over_time(up[1h])"))
        while sum(await self.numbers("count_over_time(up[1h])")) < before + times:
            await asyncio.sleep(SCRAPE_S / 2)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Site]]:
    assert PROMETHEUS is not None
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    home, host, registry, app, traces = Home(tmp_path), ScriptedHost(), CollectorRegistry(), FastAPI(), []
    admission = Admission(running=1, waiting=0)
    telemetry = Telemetry(admission, registry)
    with ExitStack() as stack:
        settings = ServeSettings.model_construct(
            **{
                **dict(ServeSettings()),
                "loop": LoopDefaults(drafts=3),
                "calibrations": {"cft": CalibrationSetting(tpr=0.9, fpr=0.1, n=400)},
                "otlp_endpoint": stack.enter_context(listening(collector(traces))),
            }
        )
        parts = Adapters(home.registry(host, observer=telemetry.adapters), None)
        made = services.assemble(
            app.state, settings, Engine(host), catalog_ttl_s=0, telemetry=telemetry, admission=admission, adapters=parts
        )
        stack.callback(made.tracing.close)
        attach_routes(app, settings, bind="127.0.0.1")
        metrics.attach(app, registry)
        url, port = stack.enter_context(listening(app)), free_port()
        scrape = {"job_name": "redraft", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
        config = {"global": {"scrape_interval": f"{int(SCRAPE_S * 1000)}ms"}, "scrape_configs": [scrape]}
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [PROMETHEUS, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
        stack.enter_context(running(command, health=f"http://127.0.0.1:{port}/-/ready", log=tmp_path / "prometheus.log"))
        clients = (httpx.AsyncClient(base_url=where, timeout=30, trust_env=False) for where in (url, f"http://127.0.0.1:{port}"))
        yield lambda: Site(*clients, home, traces)


async def traffic(site: Site, number: int) -> None:
    """One of each kind of thing that is counted."""

    async def post(path: str, body: dict[str, Any], status: int, **headers: str) -> httpx.Response:
        reply = await site.server.post(path, json=body, headers=headers)
        assert reply.status_code == status, reply.text
        return reply

    stable = (await post("/adapters", {"name": "cft", "source": site.home.adapter(f"stable{number}", 2 * number + 1)}, 201)).json()
    canary = await site.server.put("/adapters/cft", json={"source": site.home.adapter(f"canary{number}", 2 * number + 2), "canary": 50})
    assert canary.status_code == 200, canary.text
    await post("/adapters", {"name": "cft", "source": site.home.adapter(f"broken{number}", float("nan"))}, 400)
    for critic in (stable["revision"], canary.json()["canary"]["revision"]):
        found = (await post("/solve", {"problem": "2+2?", "critic": critic}, 200)).json()
        assert found["outcome"]["critic"] == "calibrated"
    stopped = (await post("/solve", {"problem": "2+2?", "critic": "cft", "loop": {"max_calls": 3}}, 200)).json()
    assert stopped["outcome"]["stop"] == "max_calls"
    await post("/critique", {"problem": "2+2?", "response": "4", "model": "cft"}, 200)
    slow = asyncio.create_task(post("/solve", {"problem": SLOW, "loop": {"deadline_s": 1.0}}, 200))
    while "redraft_loops_running 1.0" not in (await site.server.get("/metrics")).text:
        await asyncio.sleep(0.01)
    await post("/solve", {"problem": "2+2?"}, 429)
    await post("/solve", {"problem": "2+2?"}, 403, host="elsewhere.example")
    await slow


async def test_prometheus_has_numbers_for_all_of_ours(site: Callable[[], Site]) -> None:
    at = site()
    async with at.server, at.prometheus:
        for number in range(2):
            await traffic(at, number)
            await at.scraped(2)
        assert await silent(at) == []
        await lead_to_traces(at)


async def silent(at: Site) -> list[str]:
    """The series and panels without a number."""
    known = ours() | {"up"}
    asked = [("a series", name) for name in sorted(ours())]
    asked += [(where, expression) for where, expression in queries() if named(expression) <= known]
    assert len(asked) > 80
    found = []
    for where, expression in asked:
        numbers = await at.numbers(expression.replace("$__rate_interval", "5m").replace("$instance", ".*"))
        if not any(math.isfinite(number) for number in numbers):
            found.append(f"{where}: {expression}")
    return found


async def lead_to_traces(at: Site) -> None:
    """Prometheus keeps, with what took long, the ids of traces that the collector got."""
    known = {span.trace_id.hex() for span in sent(at.traces)}
    assert known
    for family in ("redraft_loop_seconds", "redraft_loop_time_to_first_text_seconds", "redraft_stage_seconds", "redraft_queue_seconds"):
        now = time.time()
        found = await at.asked("query_exemplars", query=f"{family}_bucket", start=now - 600, end=now + 10)
        told = {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
        assert told, family
        assert told <= known, family
