"""`redraft calibrate`: measures a served critic on responses whose truth is known, so that the loop knows how far to trust it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from redraft import calibration, prompts, records
from redraft.calibration import Judged, Report
from redraft.errors import BadRequest, EngineUnavailable
from redraft.remote import api_root
from redraft.wire import error_of
from server.commands import talk

JUDGED = "judged.jsonl"


@dataclass(frozen=True, slots=True)
class Row:
    """One response to judge. `key` is the hash of all that decides the critic's answer."""

    key: str
    problem: str
    response: str
    correct: bool


def calibrate(
    data: Annotated[Path, typer.Option(help="JSONL: problem, response, and correct (true, false), label (right, wrong) or gold.")],
    critic: Annotated[str | None, typer.Option(help="The critic: a served model or adapter.  [default: the base model]")] = None,
    server: talk.ServerUrl = talk.DEFAULT_SERVER,
    out: Annotated[Path, typer.Option(help="Folder for what was judged and for calibration.json.")] = Path("calibration"),
    adapter: Annotated[
        Path | None, typer.Option(help="The adapter's folder: calibration.json is also put there and served with it.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest critique; as the loop will ask for.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Critiques at once.")] = 8,
) -> None:
    """Measure CRITIC: true and false positive rates at its best threshold, reliability, and whether its word pays.

    Goes on where it was cut off. The responses must not be those the critic was trained on.
    """
    rows = list(read(data, critic, max_tokens))
    if adapter is not None and not adapter.is_dir():
        raise BadRequest(f"--adapter {adapter}: no such folder", param="adapter")
    done = asyncio.run(_judge_all(rows, critic=critic, server=server, max_tokens=max_tokens, concurrency=concurrency, log=out / JUDGED))
    judged = [Judged(done[row.key]["p_correct"], row.correct) for row in rows]
    try:
        report = calibration.fit(judged)
    except ValueError as error:
        raise BadRequest(f"{data}: {error}", param="data") from error
    name = next(iter(done.values()))["model"]
    text = json.dumps({"critic": name, "data_sha256": hashlib.sha256(data.read_bytes()).hexdigest(), **report.as_json()}, indent=2) + "\n"
    for folder in (out, *([adapter] if adapter is not None else [])):
        records.write_atomic(folder / calibration.FILE, text)
    _show(name, report, out)


def read(path: Path, critic: str | None, max_tokens: int | None) -> Iterator[Row]:
    """The rows of a file. Raises BadRequest that names file, line and field."""
    if not path.is_file():
        raise BadRequest(f"--data {path}: no such file", param="data")
    for number, record in records.read(path):
        where = f"{path}:{number}"
        for field in ("problem", "response"):
            if not isinstance(record.get(field), str) or not record[field]:
                raise BadRequest(f"{where}: field `{field}`: expected text, found {record.get(field)!r}", param=field)
        problem, response = record["problem"], record["response"]
        key = hashlib.sha256(json.dumps([problem, response, critic, max_tokens]).encode()).hexdigest()
        yield Row(key, problem, response, _truth(record, where))


def _truth(record: dict[str, Any], where: str) -> bool:
    if "correct" in record:
        if not isinstance(record["correct"], bool):
            raise BadRequest(f"{where}: field `correct`: expected true or false, found {record['correct']!r}", param="correct")
        return bool(record["correct"])
    if record.get("label") is not None:
        if record["label"] not in (prompts.RIGHT, prompts.WRONG):
            raise BadRequest(f"{where}: field `label`: expected right or wrong, found {record['label']!r}", param="label")
        return bool(record["label"] == prompts.RIGHT)
    gold = record.get("gold", record.get("answer"))
    if gold is None:
        raise BadRequest(f"{where}: expected one of the fields `correct`, `label` and `gold`", param="correct")
    from evalsuite import checker

    return checker.is_equal(str(gold), record["response"])


def _known(log: Path) -> dict[str, dict[str, Any]]:
    """What an earlier start judged, without a line that it did not finish."""
    records.Log(log).close()
    return {record["key"]: record for _, record in records.read(log)}


async def _judge_all(
    rows: list[Row], *, critic: str | None, server: str, max_tokens: int | None, concurrency: int, log: Path
) -> dict[str, dict[str, Any]]:
    """Critiques of all rows by their keys; those in `log` are not asked for again."""
    done = _known(log)
    waiting = list({row.key: row for row in rows if row.key not in done}.values())
    root, places = api_root(server), asyncio.Semaphore(concurrency)
    key = os.environ.get("REDRAFT_API_KEY") or os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    optional = {name: value for name, value in {"model": critic, "max_tokens": max_tokens}.items() if value is not None}
    with records.Log(log) as judged:
        async with httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5.0), headers=headers, trust_env=False) as client:

            async def one(row: Row) -> dict[str, Any]:
                async with places:
                    try:
                        reply = await client.post(f"{root}/critique", json={"problem": row.problem, "response": row.response, **optional})
                    except httpx.TransportError as error:
                        raise EngineUnavailable(f"no server at {root} ({type(error).__name__}): start one with `redraft serve`") from error
                if reply.status_code != httpx.codes.OK:
                    raise error_of(reply.status_code, reply.json())
                said = reply.json()
                record = {
                    "key": row.key,
                    "model": said["model"],
                    "p_correct": said["p_correct"],
                    "correct": row.correct,
                    "critique": said["critique"],
                }
                judged.append(record)
                return record

            tasks = [asyncio.ensure_future(one(row)) for row in waiting]
            try:
                for task in track(
                    asyncio.as_completed(tasks), "judging", total=len(tasks), console=Console(stderr=True), disable=not tasks
                ):
                    record = await task
                    done[record["key"]] = record
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    return done


def _show(name: str, report: Report, out: Path) -> None:
    rates, console = report.calibration, Console()
    table = Table(title=f"{name}: {rates.n} responses judged, {report.abstained} abstained", title_justify="left")
    for column in ("belief", "correct", "responses"):
        table.add_column(column, justify="right")
    for tenth in report.reliability:
        table.add_row(f"{tenth.belief:.2f}", f"{tenth.correct:.2f}", str(tenth.n))
    console.print(table)
    low, high = report.tpr_interval
    console.print(f"TPR {rates.tpr:.3f} [{low:.3f}, {high:.3f}], ", end="", highlight=False)
    low, high = report.fpr_interval
    console.print(f"FPR {rates.fpr:.3f} [{low:.3f}, {high:.3f}], threshold {rates.threshold:.3f}", highlight=False)
    verdict = "its revisions vote" if report.pays else "too low for its revisions to vote; its verdicts weigh what they are worth"
    console.print(
        f"balanced accuracy {report.balanced_accuracy:.3f} (break-even {report.break_even}): {verdict}; Brier {report.brier:.3f}",
        highlight=False,
        soft_wrap=True,
    )
    setting = f"{{tpr: {rates.tpr:.4f}, fpr: {rates.fpr:.4f}, n: {rates.n}, threshold: {rates.threshold:.4f}}}"
    console.print(f"{out / calibration.FILE}; as a setting: calibrations: {{{name}: {setting}}}", highlight=False, soft_wrap=True)
