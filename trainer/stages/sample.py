"""The `sample` stage: problems in, a model's responses out, each labelled right or wrong by the checker. Knows engines by their protocol.

Records are written in the order of the problems, whatever the order of the replies, so that a run that was cut off ends in the same
file. A response that could not be had is a record with its cause, and is asked for again by the next run where the cause may pass; an
engine that is gone ends the stage, to be gone on with later.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from evalsuite.tasks import Problem, Task
from redraft import records
from redraft.engine import Engine, Generation
from redraft.errors import BadRequest, EngineUnavailable, Overloaded, RedraftError, TooLarge
from redraft.prompts import solve_messages
from trainer.checking import Checker, label
from trainer.ordered import in_order
from trainer.origin import digest
from trainer.runs import RETRY, Earlier, claim_output, done

PATIENCE = 20
"""How often an overloaded engine is asked again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask for each problem: `n` responses at each temperature."""

    model: str
    n: int
    temperatures: tuple[float, ...]
    max_tokens: int
    seed: int | None
    concurrency: int


@dataclass(frozen=True, slots=True)
class _Ask:
    problem: Problem
    temperature: float

    def id(self, index: int) -> str:
        return f"{self.problem.id}/{self.temperature:g}/{index}"


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    finish_reason: str


async def sample(task: Task, output: Path, engine: Engine, checker: Checker, plan: Plan, console: Console) -> Counter[str]:
    """Ask for all responses that `output` does not have yet, `plan.concurrency` requests at a time. Counts labels and failures."""
    claim_output(output, digest(["sample", task.fingerprint, plan.model, plan.n, plan.temperatures, plan.max_tokens, plan.seed]))
    earlier = Earlier(output)
    written = done([output])
    asks = [ask for ask in _asks(task.problems, plan) if any(ask.id(index) not in written for index in range(plan.n))]

    async def reply(ask: _Ask) -> list[_Text] | RedraftError:
        missing = [ask.id(index) for index in range(plan.n) if ask.id(index) not in written]
        return [] if all(earlier.get(name) for name in missing) else await _generate(engine, ask, plan)

    with records.Log(output) as log, Progress(console=console, transient=True) as bar:
        running = bar.add_task("sampling", total=len(asks))
        async with aclosing(in_order(asks, reply, at_once=plan.concurrency)) as replies:
            async for ask, found in replies:
                if isinstance(found, EngineUnavailable):
                    raise found
                for index in range(plan.n):
                    if ask.id(index) not in written:
                        log.append(earlier.get(ask.id(index)) or await _record(ask, index, found, checker, plan))
                bar.advance(running)
    earlier.finish()
    return count(output)


def count(output: Path) -> Counter[str]:
    """How many responses are right, wrong, failed; and of the failed ones, how many are to be tried again."""
    counts: Counter[str] = Counter()
    for _, record in records.read(output):
        counts["failed" if "error" in record else record["label"]] += 1
        counts[RETRY] += bool(record.get(RETRY))
    return +counts


def _asks(problems: Sequence[Problem], plan: Plan) -> Iterator[_Ask]:
    for problem in problems:
        for temperature in plan.temperatures:
            yield _Ask(problem, temperature)


async def _record(ask: _Ask, index: int, reply: list[_Text] | RedraftError, checker: Checker, plan: Plan) -> dict[str, Any]:
    common = {"id": ask.id(index), "problem": ask.problem.problem, "gold": ask.problem.answer, "solution": ask.problem.solution}
    how = {"model": plan.model, "temperature": ask.temperature}
    if isinstance(reply, RedraftError):
        passing = {} if isinstance(reply, BadRequest | TooLarge) else {RETRY: True}
        return {**common, **how, "error": f"{reply.type}: {reply.message}", **passing}
    response = reply[index]
    if not response.text.strip():
        return {**common, **how, "error": f"an empty response ({response.finish_reason})"}
    judged = await asyncio.to_thread(label, checker, ask.problem.answer, response.text)
    return {**common, "response": response.text, "label": judged, **how, "finish_reason": response.finish_reason}


async def _generate(engine: Engine, ask: _Ask, plan: Plan) -> list[_Text] | RedraftError:
    """The responses to one request, or why there are none. An overloaded engine is asked again when it says so."""
    request = Generation(
        messages=solve_messages(ask.problem.problem),
        model=plan.model,
        max_tokens=plan.max_tokens,
        n=plan.n,
        temperature=ask.temperature,
        seed=plan.seed,
    )
    for attempt in range(1, PATIENCE + 1):
        try:
            return await _collect(engine, request)
        except Overloaded as error:
            if attempt == PATIENCE:
                return error
            await asyncio.sleep(error.retry_after_s or 1.0)
        except RedraftError as error:
            return error
    raise AssertionError("every attempt returns or goes on")


async def _collect(engine: Engine, request: Generation) -> list[_Text]:
    texts, reasons = [""] * request.n, ["unknown"] * request.n
    async with engine.stream(request) as stream:
        async for chunk in stream:
            texts[chunk.index] += chunk.text
            reasons[chunk.index] = chunk.finish_reason or reasons[chunk.index]
    return [_Text(text, reason) for text, reason in zip(texts, reasons, strict=True)]
