"""Watches one loop or critique from its arrival to its end, for both kinds of onlookers: Prometheus series and a trace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from redraft.errors import RedraftError
from redraft.types import Critique, LoopResult, Stage, Usage
from server.telemetry import CANCELLED, Telemetry
from server.tracing import Tracing, Work


class Watch:
    """Told of what happens in order: `admitted`, any number of `call`, then `looped` or `judged`."""

    def __init__(self, telemetry: Telemetry, work: Work, *, route: str, models: Mapping[Stage, str]) -> None:
        self._telemetry, self._work, self._route, self._models = telemetry, work, route, models
        self._arrived = time.monotonic()

    def admitted(self) -> None:
        """It has its place in the queue's front and begins."""
        self._telemetry.queued(route=self._route, seconds=time.monotonic() - self._arrived, exemplar=self._work.exemplar)

    def call(self, stage: Stage, seconds: float, usage: Usage) -> None:
        """One inner call ended, in whatever way."""
        model = self._models[stage]
        self._telemetry.call(stage, model=model, seconds=seconds, usage=usage, exemplar=self._work.exemplar)
        self._work.call(stage, model=model, seconds=seconds, usage=usage)

    def looped(self, result: LoopResult) -> None:
        critic = self._models[Stage.CRITIQUE]
        self._telemetry.loop(result, model=self._models[Stage.SOLVE], critic=critic, exemplar=self._work.exemplar)
        self._work.looped(result)

    def judged(self, critique: Critique) -> None:
        self._telemetry.verdict(critique, critic=self._models[Stage.CRITIQUE])


@contextmanager
def watching(telemetry: Telemetry, tracing: Tracing, *, route: str, model: str, critic: str) -> Iterator[Watch]:
    """A watch over the work in this context. How it ends is counted: `ok`, `refused`, `failed` or `cancelled`."""
    models = {Stage.SOLVE: model, Stage.CRITIQUE: critic, Stage.REVISE: model}
    with tracing.work(route, model=model, critic=critic) as work:
        try:
            yield Watch(telemetry, work, route=route, models=models)
        except RedraftError as error:
            telemetry.failure(route=route, kind=error.type)
            telemetry.request(route=route, outcome="refused" if error.status < 500 else "failed")
            work.failed(error.type)
            raise
        except asyncio.CancelledError:
            telemetry.request(route=route, outcome=CANCELLED)
            work.failed(CANCELLED)
            raise
        telemetry.request(route=route, outcome="ok")
