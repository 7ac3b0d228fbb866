"""Prometheus series of the loop, beside vLLM's own at `/metrics`. Label values come from closed sets: stages, stop reasons, verdicts
and the names of models that are served (an unknown name is refused before anything is counted)."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from redraft.types import Critique, LoopResult, Stage, Usage
from server.admission import Admission

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
"""Buckets that fit a GPU's first token and a CPU's whole loop."""
DRAFTS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64)


class Telemetry:
    """All series. Make one for each registry: a second one on the same registry raises."""

    def __init__(self, admission: Admission, registry: CollectorRegistry = REGISTRY) -> None:
        self._stage_seconds = Histogram(
            "redraft_stage_seconds",
            "Seconds of one engine call by stage and model.",
            ["stage", "model"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stage_tokens = Counter(
            "redraft_stage_tokens", "Tokens by stage, model and kind.", ["stage", "model", "kind"], registry=registry
        )
        self._loop_seconds = Histogram("redraft_loop_seconds", "Seconds of one loop.", ["model"], buckets=SECONDS, registry=registry)
        self._first_text = Histogram(
            "redraft_loop_time_to_first_text_seconds", "Seconds until a loop's first text.", ["model"], buckets=SECONDS, registry=registry
        )
        self._loops = Counter(
            "redraft_loops", "Loops by outcome: why they stopped and how the critic was used.", ["stop", "critic"], registry=registry
        )
        self._drafts = Histogram("redraft_loop_drafts", "Whole drafts a loop used.", buckets=DRAFTS, registry=registry)
        self._budget_stops = Counter("redraft_budget_stops", "Loops stopped by a budget.", ["budget"], registry=registry)
        self._verdicts = Counter("redraft_verdicts", "Critic verdicts.", ["critic", "verdict"], registry=registry)
        self._failures = Counter("redraft_failures", "Requests that ended in a typed error.", ["route", "type"], registry=registry)
        Gauge("redraft_loops_running", "Loops and critiques running.", registry=registry).set_function(lambda: admission.running)
        Gauge("redraft_loops_waiting", "Loops and critiques waiting.", registry=registry).set_function(lambda: admission.waiting)

    def loop(self, result: LoopResult, *, model: str, critic: str) -> None:
        self._loop_seconds.labels(model).observe(result.wall_s)
        if result.ttft_s is not None:
            self._first_text.labels(model).observe(result.ttft_s)
        self._loops.labels(result.stop.value, result.critic.value).inc()
        self._drafts.observe(sum(d.stage is Stage.SOLVE and d.finish_reason != "cancelled" for d in result.drafts))
        if result.stop.value in {"max_tokens", "max_calls", "deadline"}:
            self._budget_stops.labels(result.stop.value).inc()
        for critique in result.critiques:
            self.verdict(critique, critic=critic)

    def call(self, stage: Stage, *, model: str, seconds: float, usage: Usage) -> None:
        """One draft request, critique or revision that ended, in whatever way."""
        self._stage_seconds.labels(stage.value, model).observe(seconds)
        for kind, tokens in (("prompt", usage.prompt_tokens), ("cached", usage.cached_tokens), ("generated", usage.completion_tokens)):
            self._stage_tokens.labels(stage.value, model, kind).inc(tokens)

    def verdict(self, critique: Critique, *, critic: str) -> None:
        self._verdicts.labels(critic, critique.verdict.value).inc()

    def failure(self, *, route: str, kind: str) -> None:
        self._failures.labels(route, kind).inc()
