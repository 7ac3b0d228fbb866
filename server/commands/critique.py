"""`redraft critique --problem ... --response ...`: one response judged by a running server, shown as it is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from server.commands import talk


def critique(
    problem: Annotated[str, typer.Option(help="The problem; @FILE reads it from a file.")],
    response: Annotated[str, typer.Option(help="The response to judge; @FILE reads it from a file, - from standard input.")],
    server: talk.ServerUrl = talk.DEFAULT_SERVER,
    model: Annotated[str | None, typer.Option(help="The critic: a served model or adapter.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest critique.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
) -> None:
    """Judge RESPONSE as an answer to PROBLEM."""
    body: dict[str, Any] = {"problem": _text(problem), "response": _text(response)}
    body |= {k: v for k, v in {"model": model, "max_tokens": max_tokens}.items() if v is not None}
    result: dict[str, Any] = {}
    for event in talk.events(server, "/critique", body):
        if event["type"] == "result":
            result = event
        elif not as_json:
            print(event["text"], end="", flush=True)
    if as_json:
        print(json.dumps(result, ensure_ascii=False, indent=2))
        return
    belief = "" if result["p_correct"] is None else f", p(correct) = {result['p_correct']:.3f}"
    why = f" ({result['reason']})" if result["reason"] else ""
    Console().print(f"\n\n[bold]{result['verdict']}[/bold]{belief}{why}", highlight=False)


def _text(value: str) -> str:
    if value == "-":
        return sys.stdin.read()
    if value.startswith("@"):
        path = Path(value[1:])
        if not path.is_file():
            raise typer.BadParameter(f"{path}: no such file")
        return path.read_text(encoding="utf-8")
    return value
