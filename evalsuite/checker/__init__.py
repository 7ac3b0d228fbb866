"""Whether two mathematical answers are the same, decided exactly, safely and without SymPy in the caller's process.

    is_equal(gold, pred)   check(gold, pred)   extract(response)
    await is_equal_async(gold, pred)   await check_async(gold, pred)   close()

The blocking functions work from any thread; the asynchronous ones never block the event loop while a worker runs. Equality is
defined in `docs/checker.md`. This package imports nothing else of the project.
"""

import atexit
import time
from functools import cache, partial

from evalsuite.checker.decide import Decision, decide
from evalsuite.checker.extract import extract, is_bare
from evalsuite.checker.pool import Pool, Reply
from evalsuite.checker.verdict import How, Verdict

__all__ = ["How", "Verdict", "check", "check_async", "close", "extract", "is_equal", "is_equal_async"]


def is_equal(gold: str, pred: str) -> bool:
    """Whether `pred`, a bare answer or a whole reply, gives the answer `gold`."""
    return check(gold, pred).equal


def check(gold: str, pred: str) -> Verdict:
    """Compares the answer in `pred` with `gold` and says who decided and why."""
    question = _Question(gold, pred)
    return question.verdict(_pool().ask(*question.texts) if question.is_open else None)


async def is_equal_async(gold: str, pred: str) -> bool:
    return (await check_async(gold, pred)).equal


async def check_async(gold: str, pred: str) -> Verdict:
    """As `check`; a symbolic question, or a long text, is waited for in a thread."""
    if len(gold) + len(pred) > _LONG:
        return await _pool().run(partial(check, gold, pred))
    question = _Question(gold, pred)
    return question.verdict(await _pool().run(partial(_pool().ask, *question.texts)) if question.is_open else None)


def close() -> None:
    """Ends the worker processes. They start again when they are needed."""
    _pool().close()


_LONG = 2_000


@cache
def _pool() -> Pool:
    pool = Pool()
    atexit.register(pool.close)
    return pool


class _Question:
    """One comparison, between its exact layers and the symbolic one."""

    def __init__(self, gold: str, pred: str) -> None:
        self.started = time.perf_counter()
        self.gold = _gold_answer(gold)
        self.pred = extract(pred)
        self.decision: Decision | None = None if self.pred is None or not self.gold else decide(self.gold, self.pred)

    @property
    def is_open(self) -> bool:
        return self.decision is not None and self.decision.state in ("open", "unread")

    @property
    def texts(self) -> tuple[str, str]:
        return self.gold or "", self.pred or ""

    def verdict(self, reply: Reply | None) -> Verdict:
        equal, how, reason = self._outcome(reply)
        return Verdict(equal, how, self.gold, self.pred, reason, time.perf_counter() - self.started)

    def _outcome(self, reply: Reply | None) -> tuple[bool, How, str]:
        if not self.gold:
            return False, "abstain", "the gold answer is empty"
        if self.decision is None:
            return False, "text", "the prediction has no answer"
        if reply is None:
            return self.decision.state == "equal", self.decision.layer, self.decision.reason
        if reply.state == "open":
            return False, "abstain", reply.reason
        return reply.state == "equal", "symbolic", reply.reason


def _gold_answer(gold: str) -> str | None:
    """The gold answer; a whole solution is searched for its own, as a prediction is."""
    if "\\boxed" in gold or not is_bare(gold):
        return extract(gold) or gold.strip()
    return gold.strip()
