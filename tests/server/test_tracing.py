"""Traces: one for each loop, a span for each inner call, the caller's trace as parent, exemplars with the same id; nothing of the texts."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from redraft import loop
from redraft.errors import BadRequest, EngineFailed
from redraft.options import LoopOptions
from redraft.scripted import ScriptedEngine
from redraft.types import Calibration
from server.admission import Admission
from server.observe import watching
from server.telemetry import Telemetry
from server.tracing import Tracing, exporting
from tests.conftest import Script, WordChecker, verdict
from tests.openai_server import listening
from tests.server.conftest import Serve

ROOT = "invoke_workflow solve"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> Iterator[Tracing]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield Tracing(provider)
    provider.shutdown()


async def one_loop(tracing: Tracing, registry: CollectorRegistry) -> None:
    """Two answers, so that all stages are seen."""
    series = Telemetry(Admission(running=1, waiting=1), registry)
    engine = ScriptedEngine(Script(["= 1", "= 2"], critic=verdict(0.2)), models=("m", "c"))
    with watching(series, tracing, route="solve", model="m", critic="c") as watch:
        watch.admitted()
        result = await loop.run(
            engine,
            WordChecker(),
            [{"role": "user", "content": "a secret problem"}],
            model="m",
            critic="c",
            calibration=Calibration(0.9, 0.1, 100),
            options=LoopOptions(drafts=2),
            on_call=watch.call,
        )
        watch.looped(result)


def named(spans: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The loop's span, and those of its calls."""
    whole = spans.get_finished_spans()
    roots = [span for span in whole if span.parent is None]
    assert len(roots) == 1
    return roots[0], [span for span in whole if span.parent is not None]


async def test_a_loop_is_one_trace_with_a_span_for_each_inner_call(tracing: Tracing, spans: InMemorySpanExporter) -> None:
    await one_loop(tracing, CollectorRegistry())
    root, calls = named(spans)
    assert root.context is not None
    assert root.name == ROOT
    assert root.attributes is not None
    assert root.attributes["gen_ai.operation.name"] == "invoke_workflow"
    assert {"solve", "critique", "revise"} == {span.attributes["redraft.stage"] for span in calls if span.attributes}
    for span in calls:
        assert span.parent is not None
        assert span.attributes is not None
        assert span.parent.span_id == root.context.span_id
        assert span.kind is SpanKind.CLIENT
        assert span.attributes["gen_ai.operation.name"] == "chat"
        assert span.attributes["gen_ai.request.model"] == ("c" if span.attributes["redraft.stage"] == "critique" else "m")
        assert span.name == f"chat {span.attributes['gen_ai.request.model']}"
        assert span.start_time <= span.end_time <= root.end_time
    total = sum(span.attributes["gen_ai.usage.output_tokens"] for span in calls if span.attributes)
    assert root.attributes["gen_ai.usage.output_tokens"] == total > 0


async def test_no_text_of_a_problem_or_an_answer_is_recorded(tracing: Tracing, spans: InMemorySpanExporter) -> None:
    await one_loop(tracing, CollectorRegistry())
    shown = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "secret" not in shown
    assert "step one" not in shown


async def test_exemplars_carry_the_traces_id(tracing: Tracing, spans: InMemorySpanExporter) -> None:
    registry = CollectorRegistry()
    await one_loop(tracing, registry)
    root, _ = named(spans)
    assert root.context is not None
    told = f'# {{trace_id="{root.context.trace_id:032x}"}}'
    lines = [line for line in generate_latest(registry).decode().splitlines() if told in line]
    families = {line.split("_bucket")[0] for line in lines}
    assert families == {
        "redraft_stage_seconds",
        "redraft_loop_seconds",
        "redraft_loop_time_to_first_text_seconds",
        "redraft_loop_generated_tokens",
        "redraft_queue_seconds",
    }


async def test_without_an_endpoint_nothing_is_traced() -> None:
    registry = CollectorRegistry()
    await one_loop(exporting(None, engine="vllm"), registry)
    assert "trace_id" not in generate_latest(registry).decode()


async def test_an_error_is_named_without_its_message(tracing: Tracing, spans: InMemorySpanExporter) -> None:
    series = Telemetry(Admission(running=1, waiting=1), CollectorRegistry())
    with pytest.raises(EngineFailed), watching(series, tracing, route="solve", model="m", critic="c"):
        raise EngineFailed("a secret message")
    root, _ = named(spans)
    assert root.status.status_code is StatusCode.ERROR
    assert root.attributes is not None
    assert root.attributes["error.type"] == "engine_error"
    assert "secret" not in root.to_json()


@pytest.mark.parametrize("endpoint", ["collector:4318", "", "grpc://collector"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(BadRequest, match="otlp_endpoint"):
        exporting(endpoint, engine="vllm")


def collector(received: list[ExportTraceServiceRequest]) -> FastAPI:
    """An OTLP/HTTP collector that keeps what it gets."""
    app = FastAPI()

    @app.post("/v1/traces")
    async def traces(request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        received.append(ExportTraceServiceRequest.FromString(body))
        return Response(ExportTraceServiceRequest().SerializeToString(), media_type="application/x-protobuf")

    return app


def sent(received: list[ExportTraceServiceRequest]) -> list[Span]:
    return [span for request in received for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


async def test_a_server_sends_its_traces_over_otlp_and_joins_the_callers_trace(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    received: list[ExportTraceServiceRequest] = []
    with listening(collector(received)) as url:
        served = serve(Script(["= 1", "= 1", "= 1"]), otlp_endpoint=url)
        async with served.client() as client:
            answer = await client.post("/solve", json={"problem": "x?"}, headers={"traceparent": PARENT})
            assert answer.status_code == 200
        while not any(span.name == ROOT for span in sent(received)):
            await asyncio.sleep(0.05)
    assert {span.trace_id.hex() for span in sent(received)} == {PARENT.split("-")[1]}
    (root,) = [span for span in sent(received) if span.name == ROOT]
    assert root.parent_span_id.hex() == PARENT.split("-")[2]
    assert {span.parent_span_id for span in sent(received) if span.name == "chat scripted"} == {root.span_id}


async def test_a_collector_that_is_not_there_costs_no_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    served = serve(Script(["= 1", "= 1", "= 1"]), otlp_endpoint="http://127.0.0.1:9")
    async with served.client() as client:
        assert (await client.post("/solve", json={"problem": "x?"})).status_code == 200
