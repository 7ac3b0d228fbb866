"""Prometheus series of the loop, beside vLLM's own at `/metrics`: one family for each question people ask.

Label values come from closed sets: stages, stop reasons, verdicts, error types, our own routes, and the names of models that are served (an
unknown name is refused before anything is counted; of the known ones the first `MODELS` have series of their own). Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from redraft.errors import BadRequest, Forbidden, Overloaded, RedraftError, TooLarge, Unauthorized
from redraft.types import Calibration, CriticState, Critique, LoopResult, Stage, Usage
from server.adapters.series import AdapterSeries
from server.admission import Admission
from server.drift import Drift
from server.share import Share

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
"""Buckets that fit a GPU's first token and a CPU's whole loop."""
TOKENS = tuple(2**k for k in range(4, 18))
"""From 16 to 131072, the most a loop may take."""
DRAFTS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64)
PROBABILITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1)
MODELS = 64
"""So many names of models have series of their own; those served after them share `other`."""
OTHER = "other"
CANCELLED = "cancelled"
STABLE, CANARY = "stable", "canary"

Exemplar = Mapping[str, str] | None


class Telemetry:
    """All series. Make one for each registry: a second one on the same registry raises.

    Where a trace is recorded, its id comes along as an exemplar of what it was counted in.
    """

    def __init__(self, admission: Admission, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self._names: set[str] = set()
        self._drifts: dict[str, Drift] = {}
        self._canary_of: Callable[[str], str | None] = lambda alias: None
        self._stages(registry)
        self._loop_series(registry)
        self._critic_series(registry)
        self._request_series(registry)
        self.adapters = AdapterSeries(registry)
        Gauge("redraft_loops_running", "Loops and critiques running.", registry=registry).set_function(lambda: admission.running)
        self._completions_running = Gauge("redraft_completions_running", "Completions of loops and critiques under way.", registry=registry)
        self._completions_waiting = Gauge(
            "redraft_completions_waiting", "Completions of loops and critiques that wait for a place.", registry=registry
        )
        Gauge("redraft_loops_waiting", "Loops and critiques waiting.", registry=registry).set_function(lambda: admission.waiting)

    def _stages(self, registry: CollectorRegistry) -> None:
        self._stage_seconds = Histogram(
            "redraft_stage_seconds",
            "Seconds of one engine call by stage, model and track.",
            ["stage", "model", "track"],
            buckets=SECONDS,
            registry=registry,
        )
        self._stage_tokens = Counter(
            "redraft_stage_tokens", "Tokens by stage, model and kind.", ["stage", "model", "kind"], registry=registry
        )

    def _loop_series(self, registry: CollectorRegistry) -> None:
        self._loop_seconds = Histogram("redraft_loop_seconds", "Seconds of one loop.", ["model"], buckets=SECONDS, registry=registry)
        self._first_text = Histogram(
            "redraft_loop_time_to_first_text_seconds", "Seconds until a loop's first text.", ["model"], buckets=SECONDS, registry=registry
        )
        self._loop_tokens = Histogram(
            "redraft_loop_generated_tokens", "Generated tokens of one loop.", ["model"], buckets=TOKENS, registry=registry
        )
        self._cached = Histogram(
            "redraft_loop_cached_prompt_share",
            "Share of a loop's prompt tokens that the prefix cache held.",
            buckets=PROBABILITIES,
            registry=registry,
        )
        self._drafts = Histogram("redraft_loop_drafts", "Whole drafts a loop used.", buckets=DRAFTS, registry=registry)
        self._loops = Counter(
            "redraft_loops", "Loops by outcome: why they stopped and how the critic was used.", ["stop", "critic"], registry=registry
        )
        self._budget_stops = Counter("redraft_budget_stops", "Loops stopped by a budget.", ["budget"], registry=registry)

    def _critic_series(self, registry: CollectorRegistry) -> None:
        self._verdicts = Counter("redraft_verdicts", "Critic verdicts.", ["critic", "track", "verdict"], registry=registry)
        self._beliefs = Histogram(
            "redraft_critic_p_correct",
            "The critic's probability that a response is correct.",
            ["critic"],
            buckets=PROBABILITIES,
            registry=registry,
        )
        self._calibration = Gauge(
            "redraft_critic_calibration", "The rates that this server was told of a critic.", ["critic", "rate"], registry=registry
        )
        self._said_correct = Gauge(
            "redraft_critic_said_correct", "Share of a calibrated critic's last verdicts that say correct.", ["critic"], registry=registry
        )
        self._drift = Gauge(
            "redraft_critic_drift",
            "How far that share certainly lies outside of what the critic's calibration lets expect.",
            ["critic"],
            registry=registry,
        )

    def _request_series(self, registry: CollectorRegistry) -> None:
        self._queue_seconds = Histogram(
            "redraft_queue_seconds", "Seconds a loop or critique waited for its place.", ["route"], buckets=SECONDS, registry=registry
        )
        self._requests = Counter("redraft_requests", "Loops and critiques by how they ended.", ["route", "outcome"], registry=registry)
        self._failures = Counter("redraft_failures", "Requests that ended in a typed error.", ["route", "type"], registry=registry)
        self._turned_away = Counter("redraft_turned_away", "Requests to any route that a guard refused.", ["type"], registry=registry)
        for kind in (BadRequest, Unauthorized, Forbidden, TooLarge, Overloaded):
            self._turned_away.labels(kind.type)

    def _name(self, model: str) -> str:
        """The label for a served model: bounded, however many revisions come and go."""
        model = model.partition("@")[0]  # a revision counts under its alias
        if model not in self._names and len(self._names) >= MODELS:
            return OTHER
        self._names.add(model)
        return model

    def canaries(self, canary_of: Callable[[str], str | None]) -> None:
        """From now on calls of an alias' canary are told from those of its stable revision: `canary_of(alias)` is its name or None."""
        self._canary_of = canary_of

    def _track(self, model: str) -> str:
        return CANARY if "@" in model and self._canary_of(model.partition("@")[0]) == model else STABLE

    def loop(self, result: LoopResult, *, model: str, critic: str, exemplar: Exemplar = None) -> None:
        name = self._name(model)
        traced = _plain(exemplar)
        self._loop_seconds.labels(name).observe(result.wall_s, traced)
        if result.ttft_s is not None:
            self._first_text.labels(name).observe(result.ttft_s, traced)
        self._loop_tokens.labels(name).observe(result.usage.completion_tokens, traced)
        if result.usage.prompt_tokens:
            self._cached.observe(result.usage.cached_tokens / result.usage.prompt_tokens)
        self._loops.labels(result.stop.value, result.critic.value).inc()
        self._drafts.observe(sum(d.stage is Stage.SOLVE and d.finish_reason != CANCELLED for d in result.drafts))
        if result.stop.value in {"max_tokens", "max_calls", "deadline"}:
            self._budget_stops.labels(result.stop.value).inc()
        for critique in result.critiques:
            self.verdict(critique, critic=critic)
        drift = self._drifts.get(self._name(critic))
        if result.critic is CriticState.CALIBRATED and drift is not None and self._track(critic) == STABLE:
            for critique in result.critiques:
                drift.heard(critique.verdicts or (critique.verdict,))

    def call(self, stage: Stage, *, model: str, seconds: float, usage: Usage, exemplar: Exemplar = None) -> None:
        """One draft request, critique or revision that ended, in whatever way."""
        name = self._name(model)
        self._stage_seconds.labels(stage.value, name, self._track(model)).observe(seconds, _plain(exemplar))
        for kind, tokens in (("prompt", usage.prompt_tokens), ("cached", usage.cached_tokens), ("generated", usage.completion_tokens)):
            self._stage_tokens.labels(stage.value, name, kind).inc(tokens)

    def verdict(self, critique: Critique, *, critic: str) -> None:
        name = self._name(critic)
        self._verdicts.labels(name, self._track(critic), critique.verdict.value).inc()
        if critique.p_correct is not None:
            self._beliefs.labels(name).observe(critique.p_correct)

    def calibrated(self, critic: str, rates: Calibration) -> None:
        """What is known of a critic: to be compared with what an evaluation measures, and with what it says from here on."""
        name = self._name(critic)
        if self._track(critic) == CANARY or (name in self._drifts and self._drifts[name].expected == rates):
            return
        for rate, value in (("tpr", rates.tpr), ("fpr", rates.fpr), ("balanced_accuracy", rates.balanced_accuracy)):
            self._calibration.labels(name, rate).set(value)
        self._drifts[name] = drift = Drift(rates)
        self._said_correct.labels(name).set_function(drift.observed)
        self._drift.labels(name).set_function(drift.outside)

    def shared(self, share: Share) -> None:
        """The places that loops have in the engine."""
        self._completions_running.set_function(lambda: share.held)
        self._completions_waiting.set_function(lambda: share.waiting)

    def queued(self, *, route: str, seconds: float, exemplar: Exemplar = None) -> None:
        self._queue_seconds.labels(route).observe(seconds, _plain(exemplar))

    def request(self, *, route: str, outcome: str) -> None:
        """`outcome` is `ok`, `refused` (the caller's doing), `failed` (ours or the engine's) or `cancelled` (the caller went away)."""
        self._requests.labels(route, outcome).inc()

    def turned_away(self, error: RedraftError) -> None:
        """A guard did not let a request in: no key, a wrong one, one over its limits, a strange host, too large a body."""
        self._turned_away.labels(error.type).inc()

    def failure(self, *, route: str, kind: str) -> None:
        self._failures.labels(route, kind).inc()


def _plain(exemplar: Exemplar) -> dict[str, str] | None:
    return None if exemplar is None else dict(exemplar)
