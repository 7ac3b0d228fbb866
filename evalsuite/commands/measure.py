"""From a plan to a run directory with a summary in it: what `run` and `sweep` share. Reads no options and prints no results."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from evalsuite import progress, store, summary
from evalsuite.config import RunConfig, Sampling, Strategy
from evalsuite.endpoint import Endpoint, Patience
from evalsuite.grade import MathChecker
from evalsuite.runner import Pace, Runner, TooManyFailures
from evalsuite.score_texts import score_texts
from evalsuite.slo import Slo
from evalsuite.tasks import Task
from redraft.errors import ModelNotFound
from redraft.records import write_atomic

VOTES = 8
SAMPLED_TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask, and how patiently."""

    base_url: str
    api_key: str | None
    patience: Patience


@dataclass(frozen=True, slots=True)
class Plan:
    """A run before the server was asked for its models."""

    task: Task
    server: Server
    strategy: Strategy
    sampling: Sampling
    pace: Pace
    model: str | None = None
    critic: str | None = None
    out: Path | None = None
    folder: str | None = None
    """Where in that directory, for one of several runs that their seeds set apart."""
    must_exist: bool = False
    slo: Slo | None = None
    system: str | None = None
    """The system message, where it is not the task's; empty for none."""
    metrics: tuple[str, ...] = ()
    """Text metrics."""

    def config(self, model: str) -> RunConfig:
        task, system = self.task, self.task.system if self.system is None else self.system
        return RunConfig(task.name, task.fingerprint, model, self.strategy, self.sampling, self.critic, system, task.shots)


@dataclass(frozen=True, slots=True)
class Measured:
    """A run's directory and its summary."""

    directory: Path
    summary: dict[str, Any]


def sampled(strategy: Strategy, n: int | None, temperature: float | None, *, max_tokens: int, seed: int | None) -> Sampling:
    """Sampling with the strategy's defaults: one greedy response, or several at a temperature; a loop's are the server's."""
    if strategy in (Strategy.LOOP, Strategy.CRITIQUE):
        return Sampling(n, max_tokens, temperature, seed)
    n = n or (1 if strategy is Strategy.DIRECT else VOTES)
    if temperature is None:
        temperature = 0.0 if n == 1 else SAMPLED_TEMPERATURE
    return Sampling(n, max_tokens, temperature, seed)


def measure(plan: Plan, console: Console) -> Measured:
    """Run what is left of the plan and write the summary. Ctrl-C raises KeyboardInterrupt after everything answered is on the disk."""
    config, directory = asyncio.run(_run(plan, console))
    value = summary.of_task(config, plan.task, store.load(directory), plan.slo)
    write_summary(directory, value)
    return Measured(directory, value)


def write_summary(directory: Path, value: dict[str, Any]) -> None:
    write_atomic(directory / store.SUMMARY, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


async def _run(plan: Plan, console: Console) -> tuple[RunConfig, Path]:
    server = plan.server
    async with Endpoint(server.base_url, server.api_key, connections=plan.pace.connections, patience=server.patience) as endpoint:
        model = await _served(endpoint, plan.model)
        config = plan.config(model)
        directory = _directory(plan, config)
        watcher = progress.watcher(console, f"{plan.task.name} {plan.strategy}")
        with store.opened(directory, config, must_exist=plan.must_exist) as opened:
            try:
                await Runner(config, plan.task, endpoint, opened, MathChecker(), watcher, plan.pace).run()
            except TooManyFailures as error:
                console.print(error.message, highlight=False, markup=False)
            finally:
                watcher.close()
            if plan.metrics:
                score_texts(opened, plan.metrics)
    return config, directory


async def _served(endpoint: Endpoint, model: str | None) -> str:
    """The model to ask for. Raises ModelNotFound naming those that are served."""
    try:
        listed = [str(entry["id"]) for entry in (await endpoint.get("/v1/models")).get("data", [])]
    except ModelNotFound as error:
        raise ModelNotFound(f"{error.message}; is {endpoint.base_url} the address of an OpenAI-compatible server?") from error
    if model is None:
        if not listed:
            raise ModelNotFound(f"{endpoint.base_url} lists no model; name one with --model")
        return listed[0]
    if listed and model not in listed:
        raise ModelNotFound(f"{endpoint.base_url} serves no model {model!r}; it serves {', '.join(listed)}", param="model")
    return model


def _directory(plan: Plan, config: RunConfig) -> Path:
    if plan.folder is None:
        return plan.out or _default_directory(config)
    seedless = replace(config, sampling=replace(config.sampling, seed=None))
    together = _default_directory(seedless)
    return (plan.out or together.with_name(f"{together.name}-seeds")) / plan.folder


def _default_directory(config: RunConfig) -> Path:
    name = f"{config.task}-{config.model}-{config.strategy}"
    return Path("runs") / f"{re.sub(r'[^A-Za-z0-9._@-]+', '_', name)}-{config.identity[:8]}"
