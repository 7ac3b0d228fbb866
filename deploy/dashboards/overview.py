"""Overview: is the service well, and is it keeping its promises?"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import Rows, lines, page, tile
from deploy.dashboards.query import chosen, intact, mean, quantile, rate, total

OF_OURS = 'outcome="failed"'


def build() -> Dashboard:
    whole = rate("redraft_requests_total")
    tiles = [
        tile("Servers up", "Servers that answer Prometheus.", total('up{job="redraft"}'), unit="short", warn=1, bad=0.5, decimals=0),
        tile(
            "Not failed",
            "Loops and critiques that did not end in an error of ours or of the engine. The alert rule fires below 95 %.",
            intact(rate("redraft_requests_total", OF_OURS), whole),
            unit="percentunit",
            warn=0.99,
            bad=0.95,
            decimals=2,
        ),
        tile("Loop p95", "Nineteen of twenty loops end within it.", quantile(0.95, "redraft_loop_seconds"), unit="s", warn=30, bad=60),
        tile(
            "First text p95",
            "Time to the first text of a loop, from its place in the front of the queue.",
            quantile(0.95, "redraft_loop_time_to_first_text_seconds"),
            unit="s",
            warn=2,
            bad=5,
        ),
        tile("Waiting", "Loops and critiques without a place.", total(chosen("redraft_loops_waiting")), unit="short", warn=16, bad=64),
        tile(
            "KV cache used",
            "Share of the fullest engine's KV cache.",
            f"max({chosen('vllm:kv_cache_usage_perc')})",
            unit="percentunit",
            warn=0.8,
            bad=0.95,
        ),
    ]
    traffic = [
        lines(
            "Requests by end",
            "`refused` is the caller's doing, `failed` ours or the engine's, `cancelled` a caller that went away.",
            {"{{route}} {{outcome}}": rate("redraft_requests_total", by=["route", "outcome"])},
            unit="reqps",
            stacked=True,
        ),
        lines("Errors by type", "What the typed errors were.", {"{{type}}": rate("redraft_failures_total", by=["type"])}, unit="reqps"),
        lines(
            "Turned away",
            "Requests to any route that never came in: no key or a wrong one, one over its limits, a strange host, too large a body.",
            {"{{type}}": rate("redraft_turned_away_total", by=["type"])},
            unit="reqps",
        ),
        lines(
            "Running and waiting",
            "Loops and critiques that hold a place, and those in the queue before them.",
            {"running": total(chosen("redraft_loops_running")), "waiting": total(chosen("redraft_loops_waiting"))},
            unit="short",
        ),
        lines(
            "Completions of loops",
            "Drafts, critiques and revisions that the engine writes for loops, and those that wait for the loops' share of it.",
            {"running": total(chosen("redraft_completions_running")), "waiting": total(chosen("redraft_completions_waiting"))},
            unit="short",
        ),
        lines(
            "Generated tokens",
            "Tokens a second by stage, cancelled work included.",
            {"{{stage}}": rate("redraft_stage_tokens_total", 'kind="generated"', by=["stage"])},
            unit="short",
            stacked=True,
        ),
    ]
    loops = [
        lines(
            "Why loops stop",
            "`agreed` and `settled` cost least; budget stops are the last three of the list.",
            {"{{stop}}": rate("redraft_loops_total", by=["stop"])},
            unit="reqps",
            stacked=True,
        ),
        lines(
            "Budget stops", "Loops cut off by a budget.", {"{{budget}}": rate("redraft_budget_stops_total", by=["budget"])}, unit="reqps"
        ),
        lines(
            "Drafts a loop",
            "Whole drafts that a loop used.",
            {"mean": mean("redraft_loop_drafts"), "p95": quantile(0.95, "redraft_loop_drafts")},
            unit="short",
        ),
        lines(
            "Tokens a loop",
            "Generated tokens of one loop, all stages together.",
            {"p50": quantile(0.5, "redraft_loop_generated_tokens"), "p95": quantile(0.95, "redraft_loop_generated_tokens")},
            unit="short",
        ),
        lines(
            "Prompt in the prefix cache",
            "Share of a loop's prompt tokens that need not be read again.",
            {"mean": mean("redraft_loop_cached_prompt_share")},
            unit="percentunit",
            most=1,
        ),
    ]
    rows: Rows = {"Promises": tiles, "Traffic": traffic, "Loops": loops}
    return page("overview", "Overview", "Is the service well, and is it keeping its promises?", rows)
