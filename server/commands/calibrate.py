"""`redraft calibrate`: measures a served critic on responses whose truth is known, so that the loop knows how far to trust it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from redraft import calibration, records, vote
from redraft.calibration import Form, Judged, Report
from redraft.errors import BadRequest, EngineUnavailable
from redraft.remote import api_root
from redraft.wire import error_of
from server.commands import talk
from server.commands.labelled import Row, contested, read

JUDGED = "judged.jsonl"
FORM = re.compile(r"(\d+)x(\d+)")
CONTESTED, ALL = "contested", "all"
MOST = 16
"""Critiques of one judgement; the server takes no more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One row to be judged in one form."""

    key: str
    row: Row
    form: Form


def calibrate(
    data: Annotated[Path, typer.Option(help="JSONL: problem, response, and correct (true, false), label (right, wrong) or gold.")],
    critic: Annotated[str | None, typer.Option(help="The critic: a served model or adapter.  [default: the base model]")] = None,
    server: talk.ServerUrl = talk.DEFAULT_SERVER,
    out: Annotated[Path, typer.Option(help="Folder for what was judged and for calibration.json.")] = Path("calibration"),
    adapter: Annotated[
        Path | None, typer.Option(help="The adapter's folder: calibration.json is also put there and served with it.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest critique; as the loop will ask for.")] = None,
    form: Annotated[
        list[str] | None, typer.Option(help="NxT: N critiques of at most T tokens make a judgement. Repeated: the form that pays is kept.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Critiques at once.")] = 8,
    every: Annotated[bool, typer.Option("--every", help="Judge every response, not only those to problems whose answers differ.")] = False,
) -> None:
    """Measure CRITIC: true and false positive rates at its best threshold, reliability, and whether its word pays.

    A loop asks its critic only where drafts disagree, and there the judging is harder: where DATA holds several responses to a problem, one
    of each different answer is judged, of the problems that have several, and the critic pays only for what it tells between answers with
    equally many votes. Goes on where it was cut off. The responses must not be those the critic was trained on.
    """
    forms, rows = _forms(form, max_tokens), list(read(data))
    given, disputed = len(rows), [] if every else contested(rows)
    rows = disputed or rows
    if adapter is not None and not adapter.is_dir():
        raise BadRequest(f"--adapter {adapter}: no such folder", param="adapter")
    asks = [Ask(_key(row, critic, kind), row, kind) for kind in forms for row in rows]
    done = asyncio.run(_judge_all(asks, critic=critic, server=server, concurrency=concurrency, log=out / JUDGED))
    try:
        reports = [_fit([(ask.row, done[ask.key]) for ask in asks if ask.form == kind], kind) for kind in forms]
    except ValueError as error:
        raise BadRequest(f"{data}: {error}", param="data") from error
    report = calibration.choose(reports)
    name = next(iter(done.values()))["model"]
    about = {"judged": CONTESTED if disputed else ALL, "responses": given}
    head = {"critic": name, "data_sha256": hashlib.sha256(data.read_bytes()).hexdigest(), **about}
    text = json.dumps({**head, **report.as_json(), "forms": [_row_of(one, report) for one in reports]}, indent=2) + "\n"
    for folder in (out, *([adapter] if adapter is not None else [])):
        records.write_atomic(folder / calibration.FILE, text)
    if disputed:
        note = f"judged: the {len(rows)} answers of the problems whose responses disagree, of {given} responses; --every judges all"
        Console().print(note, highlight=False, soft_wrap=True)
    elif not every:
        note = f"judged: all {given} responses; no problem has responses that disagree, which is what a loop asks its critic about"
        Console().print(note, highlight=False, soft_wrap=True)
    _show(name, report, reports, out)


def _key(row: Row, critic: str | None, form: Form) -> str:
    """The hash of all that decides the critic's answer."""
    asked = [row.problem, row.response, critic, form.max_tokens, *([form.critiques] if form.critiques > 1 else [])]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _forms(texts: list[str] | None, max_tokens: int | None) -> list[Form]:
    """The forms that were asked for, each once. Raises BadRequest for what is none."""
    if not texts:
        return [Form(1, max_tokens)]
    if max_tokens is not None:
        raise BadRequest("--max-tokens: a --form says how long its critiques may be", param="max_tokens")
    found: dict[Form, None] = {}
    for text in texts:
        match = FORM.fullmatch(text)
        if match is None or not (1 <= int(match[1]) <= MOST and int(match[2]) > 1):
            raise BadRequest(f"--form {text}: expected NxT, such as 1x384 or 3x96, with N from 1 to {MOST}", param="form")
        found[Form(int(match[1]), int(match[2]))] = None
    return list(found)


def _fit(judged: list[tuple[Row, dict[str, Any]]], form: Form) -> Report:
    """Every belief of every response. Responses to one problem whose answers are written alike have one answer."""
    from evalsuite import checker

    beliefs = []
    for row, said in judged:
        answer = checker.extract(row.response)
        response = json.dumps([row.problem, row.response])
        cluster = response if answer is None else json.dumps([row.problem, answer])
        beliefs += [Judged(p, row.correct, response, cluster, row.votes) for p in said.get("beliefs", [said["p_correct"]])]
    spent = [said["tokens"] for _, said in judged if "tokens" in said]
    return calibration.fit(beliefs, form, tokens=sum(spent) / len(spent) if spent else None)


def _row_of(report: Report, chosen: Report) -> dict[str, Any]:
    rates = report.calibration
    return {
        "critiques": rates.critiques,
        "max_tokens": rates.critique_tokens,
        "tokens": report.tokens,
        "balanced_accuracy": report.balanced_accuracy,
        "error": report.balanced_accuracy_error,
        "chosen": report is chosen,
    }


def _known(log: Path) -> dict[str, dict[str, Any]]:
    """What an earlier start judged, without a line that it did not finish."""
    records.Log(log).close()
    return {record["key"]: record for _, record in records.read(log)}


async def _judge_all(asks: list[Ask], *, critic: str | None, server: str, concurrency: int, log: Path) -> dict[str, dict[str, Any]]:
    """What the critic said of all rows by their keys; what is in `log` is not asked for again."""
    done = _known(log)
    waiting = list({ask.key: ask for ask in asks if ask.key not in done}.values())
    root, places = api_root(server), asyncio.Semaphore(concurrency)
    key = os.environ.get("REDRAFT_API_KEY") or os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with records.Log(log) as judged:
        async with httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5.0), headers=headers, trust_env=False) as client:

            async def one(ask: Ask) -> dict[str, Any]:
                async with places:
                    try:
                        reply = await client.post(f"{root}/critique", json=_body(ask, critic))
                    except httpx.TransportError as error:
                        raise EngineUnavailable(f"no server at {root} ({type(error).__name__}): start one with `redraft serve`") from error
                if reply.status_code != httpx.codes.OK:
                    raise error_of(reply.status_code, reply.json())
                said = reply.json()
                record = {
                    "key": ask.key,
                    "model": said["model"],
                    "p_correct": said["p_correct"],
                    "beliefs": said["beliefs"],
                    "tokens": said["usage"]["completion_tokens"],
                    "correct": ask.row.correct,
                    "critique": said["critique"],
                }
                judged.append(record)
                return record

            tasks = [asyncio.ensure_future(one(ask)) for ask in waiting]
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


def _body(ask: Ask, critic: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"problem": ask.row.problem, "response": ask.row.response, "model": critic, "max_tokens": ask.form.max_tokens}
    if ask.form.critiques > 1:
        body["critiques"] = ask.form.critiques
    return {name: value for name, value in body.items() if value is not None}


def _show(name: str, report: Report, reports: list[Report], out: Path) -> None:
    rates, console = report.calibration, Console()
    if len(reports) > 1:
        console.print(_forms_table(reports, report))
    table = Table(title=f"{name}: {rates.n} responses judged, {report.abstained} critiques abstained", title_justify="left")
    for column in ("belief", "correct", "critiques"):
        table.add_column(column, justify="right")
    for tenth in report.reliability:
        table.add_row(f"{tenth.belief:.2f}", f"{tenth.correct:.2f}", str(tenth.n))
    console.print(table)
    low, high = report.tpr_interval
    console.print(f"TPR {rates.tpr:.3f} [{low:.3f}, {high:.3f}], ", end="", highlight=False)
    low, high = report.fpr_interval
    console.print(f"FPR {rates.fpr:.3f} [{low:.3f}, {high:.3f}], threshold {rates.threshold:.3f}", highlight=False)
    console.print(
        f"correlation of critiques of one response {rates.rho_response:.2f}, of one answer {rates.rho_answer:.2f} "
        "(1: copies, or not measured)",
        highlight=False,
        soft_wrap=True,
    )
    if rates.matched_tpr is not None:
        console.print(
            f"at equal votes, which is what its word adds: TPR {rates.matched_tpr:.3f}, FPR {rates.matched_fpr:.3f}, "
            f"worth {rates.matched_n} responses",
            highlight=False,
            soft_wrap=True,
        )
    verdict = "it pays, and the loop asks it" if report.pays else "it does not pay: the loop votes without it"
    console.print(
        f"balanced accuracy {report.balanced_accuracy:.3f} ± {vote.uncertainty(rates):.3f} (break-even {report.break_even}): {verdict}; "
        f"Brier {report.brier:.3f}",
        highlight=False,
        soft_wrap=True,
    )
    setting = ", ".join(f"{field}: {_number(value)}" for field, value in asdict(rates).items() if value is not None)
    console.print(f"{out / calibration.FILE}; as a setting: calibrations: {{{name}: {{{setting}}}}}", highlight=False, soft_wrap=True)


def _forms_table(reports: list[Report], chosen: Report) -> Table:
    table = Table(title="forms of a judgement", title_justify="left")
    for column in ("critiques", "of tokens", "generated", "balanced accuracy", ""):
        table.add_column(column, justify="right")
    for report in reports:
        rates = report.calibration
        table.add_row(
            str(rates.critiques),
            "default" if rates.critique_tokens is None else str(rates.critique_tokens),
            "" if report.tokens is None else f"{report.tokens:.0f}",
            f"{report.balanced_accuracy:.3f} ± {report.balanced_accuracy_error:.3f}",
            "kept" if report is chosen else "",
        )
    return table


def _number(value: float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
