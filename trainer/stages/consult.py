"""The `critique` stage with a model as teacher: responses in, critiques out, in the same order whatever the order of the replies.

A request that failed is a record with its cause and is tried again by the next run; every reply that was paid for is in the cache. The
stage ends when the endpoint refuses the key or the model, or fails many times in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from redraft import records
from redraft.errors import ModelNotFound, RedraftError, Unauthorized
from trainer.data import tables
from trainer.data.responses import Failed, Response, read
from trainer.data.tables import Place
from trainer.ordered import in_order
from trainer.origin import digest
from trainer.runs import RETRY, Earlier, claim_output, done
from trainer.stages.critique import CANNOT_JUDGE, CRITIQUE
from trainer.teachers.asking import Judged
from trainer.teachers.endpoint import PASSING
from trainer.teachers.model_teacher import Answer, ModelTeacher, Spent

FAILED, UNUSABLE = "failed", "unusable"
STREAK = 10
"""So many requests that failed in a row, after all retries, end the stage."""


@dataclass(frozen=True, slots=True)
class _Ask:
    id: str
    response: Response | Failed
    sample: int


async def consult(source: Place, output: Path, teacher: ModelTeacher, *, samples: int, concurrency: int, console: Console) -> Counter[str]:
    """Write `samples` critiques of every response; goes on where an earlier run of the same was cut off. Counts the outcomes."""
    claim_output(output, digest(["consult", teacher.manner.identity(), samples, tables.identity(source)]))
    earlier = Earlier(output)
    written = done([output])
    asks = [ask for ask in _asks(source, samples) if ask.id not in written]

    async def answer(ask: _Ask) -> Answer | RedraftError | None:
        if isinstance(ask.response, Failed) or earlier.get(ask.id):
            return None
        try:
            return await teacher.critique(ask.response.problem, ask.response.response, ask.sample)
        except (Unauthorized, ModelNotFound):
            raise
        except RedraftError as error:
            return error

    streak = 0
    with records.Log(output) as log, Progress(console=console, transient=True) as bar:
        running = bar.add_task("asking the teacher", total=len(asks))
        async with aclosing(in_order(asks, answer, at_once=concurrency)) as answers:
            async for ask, found in answers:
                log.append(earlier.get(ask.id) or _record(ask, found, teacher))
                streak = streak + 1 if isinstance(found, PASSING) else 0
                if isinstance(found, PASSING) and streak == STREAK:
                    raise type(found)(f"{STREAK} requests in a row failed, the last one: {found.message}; run the same again to go on")
                bar.update(running, advance=1, description=_told(teacher))
    earlier.finish()
    return count(output)


def count(output: Path) -> Counter[str]:
    """How many critiques there are, and of what else; of the failed ones, how many are to be tried again."""
    counts: Counter[str] = Counter()
    for _, record in records.read(output):
        counts[record["outcome"]] += 1
        counts[RETRY] += bool(record.get(RETRY))
    return +counts


def spent_on(output: Path, spent: Spent) -> Spent:
    """What the replies in `output` cost, whichever run paid for them."""
    for _, record in records.read(output):
        if "usage" in record:
            spent.pay(record["usage"]["prompt_tokens"], record["usage"]["completion_tokens"])
    return spent


def _asks(source: Place, samples: int) -> Iterator[_Ask]:
    for response in read(source):
        for sample in range(1 if isinstance(response, Failed) else samples):
            yield _Ask(f"{response.id}/{sample}", response, sample)


def _record(ask: _Ask, found: Answer | RedraftError | None, teacher: ModelTeacher) -> dict[str, Any]:
    response = ask.response
    if isinstance(response, Failed):
        return {"id": ask.id, "outcome": CANNOT_JUDGE, "reason": f"there is no response: {response.reason}"}
    assert found is not None, "a response that is there is asked about, or was before"
    common = {"problem": response.problem, "response": response.response, "gold": response.gold, "label": response.label}
    told = {"teacher": teacher.manner.model, "form": teacher.manner.form.value}
    head = {"id": ask.id, "response_id": response.id}
    if isinstance(found, RedraftError):
        passing = {RETRY: True} if isinstance(found, PASSING) else {}
        return {**head, "outcome": FAILED, "reason": f"{found.type}: {found.message}", **common, **told, **passing}
    usage = {"usage": {"prompt_tokens": found.reply.prompt_tokens, "completion_tokens": found.reply.completion_tokens}}
    judged = found.judged
    if not isinstance(judged, Judged):
        return {**head, "outcome": UNUSABLE, "reason": judged.reason, **common, "reply": found.reply.text, **told, **usage}
    located = {"first_error": judged.first_error} if judged.first_error else {}
    return {**head, "outcome": CRITIQUE, **common, "critique": judged.body, "conclusion": judged.conclusion, **located, **told, **usage}


def _told(teacher: ModelTeacher) -> str:
    spent = teacher.spent
    cost = "" if spent.cost is None else f", {spent.cost:.2f}"
    return f"asking the teacher ({spent.replies} paid, {teacher.cached} cached, {spent.completion_tokens} tokens{cost})"
