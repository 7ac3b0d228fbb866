"""OpenTelemetry traces: one for each loop or critique, with a span for each inner call. Off unless an endpoint is set.

Spans follow the GenAI semantic conventions and carry names, counts and durations: no problem, draft or answer is ever recorded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata

from opentelemetry import context, trace
from opentelemetry.trace import NoOpTracerProvider, Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue
from starlette.types import ASGIApp, Receive, Scope, Send

from redraft.errors import BadRequest
from redraft.types import LoopResult, Stage, Usage

OPERATION, WORKFLOW, MODEL, PROVIDER = "gen_ai.operation.name", "gen_ai.workflow.name", "gen_ai.request.model", "gen_ai.provider.name"
INPUT_TOKENS, OUTPUT_TOKENS, CACHED_TOKENS = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
)
ERROR_TYPE = "error.type"
TRACES_PATH = "/v1/traces"
W3C = TraceContextTextMapPropagator()


class Work:
    """The open span of one loop or critique."""

    def __init__(self, span: Span, tracer: trace.Tracer, provider: str) -> None:
        self._span, self._tracer, self._provider = span, tracer, provider

    @property
    def exemplar(self) -> Mapping[str, str] | None:
        """The trace's id for Prometheus, when this trace is recorded."""
        found = self._span.get_span_context()
        return {"trace_id": trace.format_trace_id(found.trace_id)} if self._span.is_recording() else None

    def call(self, stage: Stage, *, model: str, seconds: float, usage: Usage) -> None:
        """One inner call that just ended, as a child span."""
        ended = time.time_ns()
        child = self._tracer.start_span(
            f"chat {model}",
            context=trace.set_span_in_context(self._span),
            kind=SpanKind.CLIENT,
            start_time=ended - int(seconds * 1e9),
            attributes={
                OPERATION: "chat",
                PROVIDER: self._provider,
                MODEL: model,
                "redraft.stage": stage.value,
                "redraft.calls": usage.calls,
                **_usage(usage),
            },
        )
        child.end(ended)

    def looped(self, result: LoopResult) -> None:
        """What came out of the loop."""
        self._span.set_attributes(
            {
                "redraft.stop": result.stop.value,
                "redraft.critic.state": result.critic.value,
                "redraft.drafts": len(result.drafts),
                "redraft.critiques": len(result.critiques),
                "redraft.candidates": len(result.candidates),
                **_usage(result.usage),
            }
        )

    def failed(self, kind: str) -> None:
        self._span.set_attribute(ERROR_TYPE, kind)
        self._span.set_status(Status(StatusCode.ERROR))


def _usage(usage: Usage) -> dict[str, AttributeValue]:
    return {INPUT_TOKENS: usage.prompt_tokens, OUTPUT_TOKENS: usage.completion_tokens, CACHED_TOKENS: usage.cached_tokens}


class Tracing:
    """Opens spans on a tracer provider; without one nothing is recorded. `engine` is what the inner calls are answered by."""

    def __init__(self, provider: TracerProvider | None = None, *, engine: str = "vllm") -> None:
        self._provider = provider or NoOpTracerProvider()
        self._tracer = self._provider.get_tracer("redraft", metadata.version("redraft"))
        self._engine = engine

    @contextmanager
    def work(self, name: str, *, model: str, critic: str) -> Iterator[Work]:
        """The span of one loop or critique; it belongs to the caller's trace when the request named one."""
        attributes = {OPERATION: "invoke_workflow", WORKFLOW: name, MODEL: model, "redraft.critic": critic}
        with self._tracer.start_as_current_span(
            f"invoke_workflow {name}",
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield Work(span, self._tracer, self._engine)

    def close(self) -> None:
        """Send what has not been sent yet."""
        shutdown = getattr(self._provider, "shutdown", None)
        if shutdown is not None:
            shutdown()


class TraceContext:
    """Makes the `traceparent` of a request the parent of what is traced while it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        token = context.attach(W3C.extract(carrier))
        try:
            await self.app(scope, receive, send)
        finally:
            context.detach(token)


def exporting(endpoint: str | None, *, engine: str) -> Tracing:
    """Traces sent in batches to an OTLP/HTTP collector (`http://host:4318`), or none at all. Raises BadRequest for what is no address."""
    if endpoint is None:
        return Tracing(engine=engine)
    if not endpoint.startswith(("http://", "https://")):
        raise BadRequest(
            f"setting `otlp_endpoint`: expected http://HOST:PORT of an OTLP/HTTP collector, got {endpoint!r}", param="otlp_endpoint"
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "redraft", "service.version": metadata.version("redraft")})
    provider = SdkProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint.rstrip("/").removesuffix(TRACES_PATH) + TRACES_PATH)))
    return Tracing(provider, engine=engine)
