"""What one loop has spent and what it may still spend: budget, tokens by stage, seconds by call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redraft.budget import Budget
from redraft.engine import Chunk, Engine, Generation
from redraft.events import OnCall
from redraft.types import Stage, StageTiming, Usage


class Accounts:
    """Every engine call of a loop passes through here, so that nothing it generates goes uncounted, cancelled or not."""

    def __init__(self, budget: Budget, on_call: OnCall) -> None:
        self.budget = budget
        self.usage: dict[Stage, Usage] = dict.fromkeys(Stage, Usage())
        self.timing: list[StageTiming] = []
        self.ttft_s: float | None = None
        self._on_call = on_call

    @asynccontextmanager
    async def call(self, engine: Engine, stage: Stage, request: Generation, *, reserved: int) -> AsyncIterator[AsyncIterator[Chunk]]:
        """Open a generation for which `reserved` tokens were set aside; what it did not use goes back."""
        start = self.budget.elapsed()
        used = Usage(calls=1)
        try:
            async with engine.stream(request) as stream:
                try:
                    yield aiter(stream)
                finally:
                    used = stream.usage
        finally:
            self.close(stage, start, reserved, used)

    def close(self, stage: Stage, start: float, reserved: int, used: Usage) -> None:
        """Book a call that began at `start` seconds."""
        self.budget.settle(reserved=reserved, used=used.completion_tokens)
        self.usage[stage] += used
        end = self.budget.elapsed()
        self.timing.append(StageTiming(stage, start, end))
        self._on_call(stage, end - start, used)

    def text_came(self) -> None:
        if self.ttft_s is None:
            self.ttft_s = self.budget.elapsed()

    def total(self) -> Usage:
        total = Usage()
        for used in self.usage.values():
            total += used
        return total
