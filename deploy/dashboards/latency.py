"""Latency: where does the time of a loop go?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import Rows, heat, lines, page
from deploy.dashboards.query import buckets, quantile

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def curves(histogram: str) -> dict[str, str]:
    return {name: quantile(q, histogram) for name, q in QUANTILES.items()}


def build() -> Dashboard:
    loop = [
        lines(
            "Loop, end to end",
            "From its place in the queue's front to its answer.",
            curves("redraft_loop_seconds"),
            unit="s",
            exemplars=True,
        ),
        heat("Loops by duration", "The same, as it is distributed.", buckets("redraft_loop_seconds"), unit="s"),
        lines(
            "Loop, first text",
            "Until a reader sees something.",
            curves("redraft_loop_time_to_first_text_seconds"),
            unit="s",
            exemplars=True,
        ),
        lines("Queue", "Waiting for a place.", {"p95 {{route}}": quantile(0.95, "redraft_queue_seconds", by=["route"])}, unit="s"),
    ]
    stages = [
        lines(
            "Stages, median",
            "One engine call.",
            {"{{stage}} {{model}}": quantile(0.5, "redraft_stage_seconds", by=["stage", "model"])},
            unit="s",
        ),
        lines(
            "Stages, p95",
            "One engine call.",
            {"{{stage}} {{model}}": quantile(0.95, "redraft_stage_seconds", by=["stage", "model"])},
            unit="s",
        ),
        heat("Solve calls by duration", "All drafts of a request together.", buckets("redraft_stage_seconds", 'stage="solve"'), unit="s"),
        heat("Critiques by duration", "Words and verdict.", buckets("redraft_stage_seconds", 'stage="critique"'), unit="s"),
    ]
    engine = [
        lines("Engine, time to first token", "All requests, plain chats too.", curves("vllm:time_to_first_token_seconds"), unit="s"),
        lines("Engine, between tokens", "Inter-token latency.", curves("vllm:inter_token_latency_seconds"), unit="s"),
        heat("Time to first token", "As it is distributed.", buckets("vllm:time_to_first_token_seconds"), unit="s"),
        heat("Between tokens", "As it is distributed.", buckets("vllm:inter_token_latency_seconds"), unit="s"),
    ]
    rows: Rows = {"The loop": loop, "Its stages": stages, "The engine": engine}
    return page("latency", "Latency", "Where does the time of a loop go?", rows)
