"""Runs the unanswered problems of a task against an endpoint, many at a time, and grades beside it. Starts nothing and prints nothing."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from evalsuite import adaptive, ask
from evalsuite.ask import Reply, Response
from evalsuite.config import RunConfig, Strategy
from evalsuite.endpoint import Answered, Endpoint
from evalsuite.grade import Checker, Grade, grade
from evalsuite.store import Store
from evalsuite.summary import MAX_FAILURE_SHARE
from evalsuite.tasks import Problem, Task
from redraft.errors import BadRequest, ModelNotFound, RedraftError, TooLarge, Unauthorized
from redraft.records import Record

GRADERS = 4
ARRIVAL_SEED = 0
FAILURES_BEFORE_GIVING_UP = 8
NO_ROUTE = "HTTP 404: Not Found"
"""What servers made with FastAPI say of a path that they do not have, and of nothing else."""


class Watcher(Protocol):
    """Is told what happens, to show it."""

    def begin(self, total: int, already: int) -> None: ...
    def answered(self, sample: Record) -> None: ...
    def failed(self, failure: Record) -> None: ...
    def graded(self, grade: Grade) -> None: ...


class TooManyFailures(RedraftError):
    """The infrastructure failed so often that going on would only waste time. What was answered is kept."""

    status = 502
    type = "too_many_failures"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to ask: `concurrency` problems in flight (closed loop), or `rate` problems a second as a Poisson process (open loop)."""

    concurrency: int = 32
    rate: float | None = None
    stream: bool = False
    """Stream chats, to see the time to first token and the gaps between tokens."""

    @property
    def connections(self) -> int:
        """For a connection pool; 0 is unlimited, as arrivals must not wait for each other."""
        return 0 if self.rate is not None else self.concurrency


@dataclass(slots=True)
class Runner:
    """One run: its configuration, where it asks, and where it keeps what it learns."""

    config: RunConfig
    task: Task
    endpoint: Endpoint
    store: Store
    checker: Checker
    watcher: Watcher
    pace: Pace = Pace()

    async def run(self) -> None:
        """Ask and grade everything that is not in the store yet. Failures of an earlier session are asked again.

        Raises TooManyFailures, Unauthorized or ModelNotFound when going on has no use.
        """
        try:
            await self._work()
        except ExceptionGroup as group:
            known, others = group.split(RedraftError)
            if known is None or others is not None:
                raise
            raise _first(known) from None

    async def _work(self) -> None:
        unasked, ungraded = self._left()
        self.watcher.begin(len(self.task.problems), len(self.task.problems) - len(unasked) - len(ungraded))
        to_grade: asyncio.Queue[Problem] = asyncio.Queue()
        for problem in ungraded:
            to_grade.put_nowait(problem)
        queue = iter(unasked)
        fuse = _Fuse(len(self.task.problems))
        async with asyncio.TaskGroup() as graders:
            workers = [graders.create_task(self._grade_all(to_grade)) for _ in range(GRADERS)]
            async with asyncio.TaskGroup() as askers:
                if self.pace.rate is None:
                    for _ in range(min(self.pace.concurrency, len(unasked))):
                        askers.create_task(self._ask_all(queue, to_grade, fuse))
                else:
                    await self._arrive(askers, queue, to_grade, fuse)
            await to_grade.join()
            for worker in workers:
                worker.cancel()

    def _left(self) -> tuple[list[Problem], list[Problem]]:
        results = self.store.results
        keyed = [(self.config.key(problem), problem) for problem in self.task.problems]
        unasked = [problem for key, problem in keyed if key not in results.samples]
        ungraded = [problem for key, problem in keyed if key in results.samples and key not in results.grades]
        return unasked, ungraded

    async def _arrive(self, askers: asyncio.TaskGroup, queue: Iterator[Problem], to_grade: asyncio.Queue[Problem], fuse: _Fuse) -> None:
        """Send each problem when its time has come, whatever has become of the others. The times are the same in every run."""
        assert self.pace.rate is not None
        rng, due = random.Random(ARRIVAL_SEED), time.perf_counter()
        for problem in queue:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            askers.create_task(self._ask_all(iter((problem,)), to_grade, fuse, due))
            due += rng.expovariate(self.pace.rate)

    async def _ask_all(self, queue: Iterator[Problem], to_grade: asyncio.Queue[Problem], fuse: _Fuse, due: float | None = None) -> None:
        for problem in queue:
            try:
                sample = await self._ask(problem, due)
            except (Unauthorized, ModelNotFound):
                raise
            except RedraftError as error:
                self.watcher.failed(self._keep_failure(problem, error))
                fuse.count(error)
                continue
            self.watcher.answered(sample)
            to_grade.put_nowait(problem)

    async def _ask(self, problem: Problem, due: float | None) -> Record:
        if self.config.strategy is Strategy.ADAPTIVE:
            drawn = await adaptive.draw(self.config, lambda config: self._request(config, problem, due), self.checker)
            answered, reply = drawn.answered, drawn.reply
        else:
            answered, reply = await self._request(self.config, problem, due)
        return self.store.add(
            "sample",
            self.config.key(problem),
            id=problem.id,
            problem=problem.problem,
            gold=problem.answer,
            judged=problem.response,
            **({"references": list(problem.references)} if problem.references else {}),
            **reply.as_json(),
            timing=_timing(answered, reply),
        )

    async def _request(self, config: RunConfig, problem: Problem, due: float | None) -> tuple[Answered, Reply]:
        path = ask.PATHS[config.strategy]
        body = ask.request_body(config, problem)
        try:
            answered = await self.endpoint.post(path, body, stream=self.pace.stream and path == ask.CHAT, due=due)
        except ModelNotFound as error:
            if path == ask.CHAT or not error.message.endswith(NO_ROUTE):
                raise
            raise ModelNotFound(f"{error.message}; strategy {config.strategy} needs a Redraft server, which has {path}") from error
        return answered, ask.read_reply(config, answered.body)

    def _keep_failure(self, problem: Problem, error: RedraftError) -> Record:
        return self.store.add(
            "failure",
            self.config.key(problem),
            id=problem.id,
            problem=problem.problem,
            gold=problem.answer,
            cause=error.type,
            status=error.status,
            message=error.message,
            refused=isinstance(error, BadRequest | TooLarge),
        )

    async def _grade_all(self, to_grade: asyncio.Queue[Problem]) -> None:
        while True:
            problem = await to_grade.get()
            key = self.config.key(problem)
            judged = await grade(self.config.strategy, problem.answer, reply_of(self.store.results.samples[key]), self.checker)
            self.store.add("grade", key, **judged.as_json())
            self.watcher.graded(judged)
            to_grade.task_done()


def _timing(answered: Answered, reply: Reply) -> Record:
    """When the reply came; a loop or critique says itself when its first token did."""
    said = ((reply.detail or {}).get("timing") or {}).get("ttft_s")
    timing: Record = {
        "started_at": answered.started_at,
        "latency_s": answered.latency_s,
        "attempts": answered.attempts,
        "queue_s": answered.queue_s,
        "ttft_s": answered.ttft_s if answered.ttft_s is not None else said,
    }
    return {**timing, "gaps_ms": list(answered.gaps_ms)} if answered.gaps_ms else timing


def _first(group: ExceptionGroup[RedraftError]) -> RedraftError:
    """One of the errors that several workers met at the same moment."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def reply_of(sample: Record) -> Reply:
    """The reply that a sample record keeps."""
    return Reply(
        tuple(Response(**response) for response in sample["responses"]),
        sample["prompt_tokens"],
        sample["completion_tokens"],
        sample["answer"],
        sample["detail"],
    )


class _Fuse:
    """Counts failures and blows when they are beyond what a run may have."""

    def __init__(self, problems: int) -> None:
        self._left = max(FAILURES_BEFORE_GIVING_UP, int(MAX_FAILURE_SHARE * problems))

    def count(self, error: RedraftError) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooManyFailures(f"gave up after too many failures; the last one: {error.message}") from error
