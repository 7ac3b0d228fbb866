"""The names of all series that a scrape can have: from our registries, from an export, and vLLM's from a committed list."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from evalsuite.export.prometheus import HELP
from server.admission import Admission
from server.telemetry import Telemetry

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
VLLM = DEPLOY / "grafana" / "vllm_series.txt"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
OF_PROMETHEUS = {"up"}


def ours() -> set[str]:
    registry = CollectorRegistry()
    Telemetry(Admission(running=1, waiting=1), registry)
    return {metric.name + suffix for metric in registry.collect() for suffix in SUFFIXES[metric.type]}


def vllms() -> set[str]:
    lines = VLLM.read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def all_series() -> set[str]:
    return ours() | vllms() | set(HELP) | OF_PROMETHEUS
