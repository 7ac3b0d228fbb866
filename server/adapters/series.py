"""Prometheus series of the adapters. All labels are closed lists: states, results, checks."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from server.adapters.parts import Adapters
from server.adapters.slots import State

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class AdapterSeries:
    """The registry's `Observer`. Make one for each Prometheus registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._states = Gauge("redraft_adapter_revisions", "Adapters by state.", ["state"], registry=registry)
        self._converged = Gauge("redraft_adapters_converged", "1 when all that the adapters file declares is served.", registry=registry)
        self._swaps = Counter("redraft_adapter_swaps", "Loads and swaps of adapters by result.", ["result"], registry=registry)
        self._seconds = Histogram(
            "redraft_adapter_swap_seconds", "Seconds from a swap's arrival to its switch.", buckets=SECONDS, registry=registry
        )
        self._refusals = Counter("redraft_adapter_refusals", "Adapters that were not admitted, by check.", ["check"], registry=registry)

    def adapter_swap(self, result: str, seconds: float) -> None:
        self._swaps.labels(result).inc()
        if result == "served":
            self._seconds.observe(seconds)

    def adapter_refused(self, check: str) -> None:
        self._refusals.labels(check).inc()

    def watch(self, adapters: Adapters) -> None:
        """Have the gauges say what the registry says when they are asked."""
        for state in State:
            self._states.labels(state.value).set_function(partial(adapters.registry.count, state))
        self._converged.set_function(lambda: float(adapters.converged))
