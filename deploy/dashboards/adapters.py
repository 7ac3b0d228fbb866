"""Adapters: what is loaded, what was refused, and each alias' canary beside the revision it is to replace."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import Rows, heat, lines, page, tile
from deploy.dashboards.query import buckets, chosen, part, quantile, rate, total

TRACKS = ["model", "track"]


def build() -> Dashboard:
    now = [
        tile(
            "Serving",
            "Revisions in the engines.",
            total(chosen("redraft_adapter_revisions", 'state="serving"')),
            unit="short",
            warn=0,
            bad=-1,
            decimals=0,
            height=8,
        ),
        tile(
            "Failed",
            "Adapters that were asked for and do not serve.",
            total(chosen("redraft_adapter_revisions", 'state="failed"')),
            unit="short",
            warn=1,
            bad=2,
            decimals=0,
            height=8,
        ),
        tile(
            "Draining",
            "Replaced revisions that running requests still use.",
            total(chosen("redraft_adapter_revisions", 'state="draining"')),
            unit="short",
            warn=2,
            bad=8,
            decimals=0,
            height=8,
        ),
        tile(
            "As declared",
            "1 when every server serves all that its adapters file declares.",
            f"min({chosen('redraft_adapters_converged')})",
            unit="short",
            warn=1,
            bad=0.5,
            decimals=0,
            height=8,
        ),
        lines(
            "Revisions by state",
            "Of all chosen servers.",
            {"{{state}}": total(chosen("redraft_adapter_revisions"), ["state"])},
            unit="short",
            span=8,
        ),
    ]
    changes = [
        lines(
            "Swaps", "Loads and swaps by result.", {"{{result}}": rate("redraft_adapter_swaps_total", by=["result"])}, unit="reqps", span=8
        ),
        lines(
            "Refusals",
            "Adapters not admitted, by check.",
            {"{{check}}": rate("redraft_adapter_refusals_total", by=["check"])},
            unit="reqps",
            span=8,
        ),
        lines(
            "Seconds to switch",
            "From a swap's arrival to its switch.",
            {"p50": quantile(0.5, "redraft_adapter_swap_seconds"), "p95": quantile(0.95, "redraft_adapter_swap_seconds")},
            unit="s",
            span=8,
        ),
    ]
    canary = [
        lines(
            "Calls",
            "Engine calls a second.",
            {"{{model}} {{track}}": rate("redraft_stage_seconds_count", by=TRACKS)},
            unit="reqps",
            stacked=True,
        ),
        lines("Latency, p95", "One engine call.", {"{{model}} {{track}}": quantile(0.95, "redraft_stage_seconds", by=TRACKS)}, unit="s"),
        lines(
            "Verdicts: share correct",
            "A canary critic that judges otherwise than the stable one.",
            {"{{critic}} {{track}}": part("redraft_verdicts_total", 'verdict="correct"', by=["critic", "track"])},
            unit="percentunit",
            most=1,
        ),
        lines(
            "Abstentions",
            "Share of critiques without a readable verdict: a critic that forgot its form.",
            {"{{critic}} {{track}}": part("redraft_verdicts_total", 'verdict="abstain"', by=["critic", "track"])},
            unit="percentunit",
            most=1,
        ),
        lines(
            "Tokens by model",
            "Generated tokens a second.",
            {"{{model}}": rate("redraft_stage_tokens_total", 'kind="generated"', by=["model"])},
            unit="short",
            stacked=True,
        ),
        heat("P(correct)", "How sure the critics were.", buckets("redraft_critic_p_correct"), unit="percentunit"),
    ]
    rows: Rows = {"Now": now, "Changes": changes, "Canary against stable": canary}
    return page("adapters", "Adapters", "What is loaded, and how canaries compare with what they are to replace.", rows)
