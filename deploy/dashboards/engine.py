"""Engine: vLLM's own series, those that version 0.32 has."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import lines, page
from deploy.dashboards.query import chosen, mean, quantile, rate, total

PHASES = {
    "queue": "vllm:request_queue_time_seconds",
    "prefill": "vllm:request_prefill_time_seconds",
    "decode": "vllm:request_decode_time_seconds",
}


def build() -> Dashboard:
    load = [
        lines(
            "Requests in the engine",
            "A loop is several requests here.",
            {"running": total(chosen("vllm:num_requests_running")), "waiting": total(chosen("vllm:num_requests_waiting"))},
            unit="short",
        ),
        lines("KV cache used", "Share of its blocks.", {"{{instance}}": chosen("vllm:kv_cache_usage_perc")}, unit="percentunit", most=1),
        lines(
            "Tokens",
            "Prompt tokens read and tokens generated, a second.",
            {"prompt": rate("vllm:prompt_tokens_total"), "generated": rate("vllm:generation_tokens_total")},
            unit="short",
        ),
        lines(
            "Prefix cache hits",
            "Share of prompt tokens that were in the cache. Only whole blocks count.",
            {"hits": f"{rate('vllm:prefix_cache_hits_total')} / {rate('vllm:prefix_cache_queries_total')}"},
            unit="percentunit",
            most=1,
        ),
    ]
    requests = [
        lines("Where a request waits, p95", "Phases of one request.", {k: quantile(0.95, v) for k, v in PHASES.items()}, unit="s"),
        lines(
            "Finished",
            "Why requests ended. `abort` is also a draft that the vote no longer needed.",
            {"{{finished_reason}}": rate("vllm:request_success_total", by=["finished_reason"])},
            unit="reqps",
            stacked=True,
        ),
        lines("Tokens a step", "Mean size of a batch in tokens.", {"mean": mean("vllm:iteration_tokens_total")}, unit="short"),
        lines(
            "Preemptions",
            "Requests thrown out of the batch for want of KV cache, a second.",
            {"preemptions": rate("vllm:num_preemptions_total")},
            unit="short",
        ),
    ]
    return page("engine", "Engine", "vLLM's own series.", {"Load": load, "Requests": requests})
