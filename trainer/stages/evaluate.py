"""The `evaluate` stage: an adapter judges labelled responses in this process; how far can it be trusted as a critic?

The critique and the reading of its verdict are the served ones: written up to `Conclusion:`, then the probabilities of the next token.
The result has the form of an `evalsuite` summary, so that `publish` takes either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from evalsuite import tasks
from redraft import parse, prompts, records
from redraft.types import Verdict
from trainer.adapters.adapter import check
from trainer.checking import MathChecker
from trainer.data.responses import Failed, Response, read
from trainer.errors import BadRow
from trainer.fitting.local import LocalModel
from trainer.origin import digest, sha256
from trainer.runs import claim_output, done
from trainer.stages.inject import inject
from trainer.stages.noise import Rate
from trainer.stages.solutions import solutions

SCHEMA = 1
STOP = (prompts.CONCLUSION, prompts.END)
CHUNK = 4
"""Batches between two writes to the log."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A critic's word on one response: `p_correct` is None where it abstains."""

    text: str
    tokens: int
    p_correct: float | None

    @property
    def verdict(self) -> Verdict:
        if self.p_correct is None:
            return Verdict.ABSTAIN
        return Verdict.CORRECT if self.p_correct >= 0.5 else Verdict.INCORRECT


def judge(model: LocalModel, pairs: Sequence[tuple[str, str]], max_tokens: int) -> list[Judgement]:
    """Critiques of `(problem, response)` pairs."""
    asked = [prompts.critique_messages(problem, response) for problem, response in pairs]
    begun = [(*chat, _reply(prompts.CRITIQUE_START)) for chat in asked]
    written = model.write(begun, max_tokens=max_tokens, stop=STOP)
    bodies = [parse.body(reply.text) for reply in written]
    ended = [(*chat, _reply(prompts.verdict_prefix(body))) for chat, body in zip(asked, bodies, strict=True)]
    beliefs = [parse.belief(tops) for tops in model.next_tokens(ended)]
    return [Judgement(body, reply.tokens, belief.p_correct) for body, reply, belief in zip(bodies, written, beliefs, strict=True)]


def _reply(text: str) -> Any:
    return {"role": "assistant", "content": text}


def evaluate(
    adapter: Path, responses: Path, output: Path, *, base: bool, max_tokens: int, batch_size: int, console: Console
) -> dict[str, Any]:
    """Write how the adapter (and with `base` its base model too) judges `responses`; goes on where an earlier run was cut off."""
    manifest = check(adapter)
    rows = list(labelled(responses, console))
    model = manifest["config"]["model"]
    log = output.with_name(f"{output.stem}.judged.jsonl")
    claim_output(log, digest(["evaluate", manifest["content_sha256"], sha256(responses), max_tokens, base]))
    sides = {"critic": adapter, **({"base": None} if base else {})}
    for side, worn in sides.items():
        _judge_all(rows, side, log, (model, worn), max_tokens, batch_size, console)
    judged = [record for _, record in records.read(log)]
    summary = {
        "schema": SCHEMA,
        "task": {"name": responses.name, "fingerprint": sha256(responses)[:16], "problems": len(rows)},
        "model": manifest["name"],
        "adapter": manifest["content_sha256"],
        "strategy": "critique",
        "complete": True,
        "max_tokens": max_tokens,
        **{side: tally(record for record in judged if record["side"] == side) for side in sides},
    }
    records.write_atomic(output, json.dumps(summary, indent=2) + "\n")
    return summary


def made_responses(task: str, output: Path, *, limit: int | None, seed: int, console: Console) -> Path:
    """Responses whose truth is known, for which no model is asked: reference solutions, and beside each a wrong twin."""
    right, both = (output.with_name(f"{output.stem}.{name}.jsonl") for name in ("solutions", "responses"))
    solutions(tasks.load(task, limit=limit), right)
    inject(right, both, MathChecker(), seed=seed, console=console)
    return both


def labelled(path: Path, console: Console) -> Iterable[Response]:
    """The responses to judge. Those that were never given are counted and told."""
    failed = 0
    for response in read(path):
        if isinstance(response, Failed):
            failed += 1
        elif response.label is None:
            raise BadRow(response.where, "label", "is missing: a critic is measured on responses whose truth is known")
        else:
            yield response
    if failed:
        console.print(f"[yellow]{failed} responses that were never given left out[/yellow]", highlight=False)


def _judge_all(
    rows: Sequence[Response], side: str, log: Path, what: tuple[str, Path | None], max_tokens: int, batch_size: int, console: Console
) -> None:
    written = done([log])
    waiting = [row for row in rows if f"{side}/{row.id}" not in written]
    if not waiting:
        return
    model = LocalModel(*what, batch_size=batch_size)
    size = batch_size * CHUNK
    with records.Log(log) as file, Progress(console=console, transient=True) as bar:
        running = bar.add_task(f"judging, {side}", total=len(waiting))
        for at in range(0, len(waiting), size):
            chunk = waiting[at : at + size]
            for row, given in zip(chunk, judge(model, [(row.problem, row.response) for row in chunk], max_tokens), strict=True):
                said = {"verdict": given.verdict.value, "p_correct": given.p_correct, "critique": given.text, "tokens": given.tokens}
                file.append({"id": f"{side}/{row.id}", "side": side, "label": row.label, **said})
            bar.advance(running, len(chunk))


def tally(judged: Iterable[records.Record]) -> dict[str, Any]:
    """A critic's rates over the verdicts that it gave; `calibration` is the form that a server's settings take."""
    found = list(judged)
    given = [record for record in found if record["verdict"] != Verdict.ABSTAIN]
    said_right, said_wrong = _rate(given, prompts.RIGHT, Verdict.CORRECT), _rate(given, prompts.WRONG, Verdict.INCORRECT)
    tpr, tnr = said_right.value, said_wrong.value
    errors = [(record["p_correct"] - (record["label"] == prompts.RIGHT)) ** 2 for record in found if record["p_correct"] is not None]
    return {
        "responses": len(found),
        "correct_responses": sum(record["label"] == prompts.RIGHT for record in found),
        "abstained": len(found) - len(given),
        "balanced_accuracy": None if tpr is None or tnr is None else (tpr + tnr) / 2,
        "tpr": tpr,
        "tnr": tnr,
        "intervals": {"tpr": said_right.interval, "tnr": said_wrong.interval},
        "brier": sum(errors) / len(errors) if errors else None,
        "calibration": None if tpr is None or tnr is None else {"tpr": tpr, "fpr": 1 - tnr, "n": len(given)},
    }


def _rate(given: Sequence[records.Record], label: str, verdict: Verdict) -> Rate:
    hits = [record["verdict"] == verdict for record in given if record["label"] == label]
    return Rate(sum(hits), len(hits))
