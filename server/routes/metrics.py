"""`GET /metrics`: the series of a registry, as OpenMetrics (it carries the exemplars) for a reader that accepts it, else as plain text."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics

OPENMETRICS = "application/openmetrics-text"
VERSION = "1.0.0"


def attach(app: FastAPI, registry: CollectorRegistry) -> None:
    @app.get("/metrics", tags=["health"], summary="Prometheus series", response_model=None)
    def series(request: Request) -> Response:
        if OPENMETRICS not in request.headers.get("accept", ""):
            return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
        # With its default escaping the client library turns the colon of `vllm:` into an underscore. No name here needs any.
        text = openmetrics.generate_latest(registry, escaping=openmetrics.ALLOWUTF8, version=VERSION)  # type: ignore[no-untyped-call]
        return Response(text, headers={"Content-Type": f"{OPENMETRICS}; version={VERSION}; charset=utf-8"})
