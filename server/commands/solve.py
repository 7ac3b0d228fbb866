"""`redraft solve "..."`: one problem through a running server's loop, its steps shown as they happen."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from server.commands import talk

TAIL = 6
"""Lines of each running step that are shown."""


def solve(
    problem: Annotated[str, typer.Argument(help="The problem.")],
    server: talk.ServerUrl = talk.DEFAULT_SERVER,
    model: Annotated[str | None, typer.Option(help="Model or adapter that solves.")] = None,
    critic: Annotated[str | None, typer.Option(help="Model or adapter that critiques.")] = None,
    effort: Annotated[str | None, typer.Option(help="low, medium or high: a named budget.")] = None,
    drafts: Annotated[int | None, typer.Option(min=1, help="At most so many responses; fewer when they agree.")] = None,
    rounds: Annotated[int | None, typer.Option(min=0, help="Rounds of critique and revision.")] = None,
    critique: Annotated[
        str | None, typer.Option(help="calibrated: ask a critic that was measured and pays; always: any, whose word then moves no vote.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Generated tokens of all stages together.")] = None,
    deadline_s: Annotated[float | None, typer.Option(help="Seconds; then the best answer so far.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of drafts and revisions.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the drafts repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
) -> None:
    """Solve PROBLEM with drafts, critiques and revisions."""
    wanted = {
        "effort": effort,
        "drafts": drafts,
        "rounds": rounds,
        "critique": critique,
        "max_tokens": max_tokens,
        "deadline_s": deadline_s,
        "temperature": temperature,
        "seed": seed,
    }
    body: dict[str, Any] = {"problem": problem, "loop": {k: v for k, v in wanted.items() if v is not None}}
    body |= {k: v for k, v in {"model": model, "critic": critic}.items() if v is not None}
    if as_json:
        result = [event for event in talk.events(server, "/solve", body) if event["type"] == "result"][-1]
        print(json.dumps(result, ensure_ascii=False, indent=2))
        return
    console = Console()
    board = _Board()
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        for event in talk.events(server, "/solve", body):
            board.feed(event)
            live.update(board.render())
    for panel in board.panels(whole=True):
        console.print(panel)
    _summary(console, board.result)


class _Board:
    """The steps of one loop as panels, running ones cut to their last lines."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, int], tuple[str, list[str]]] = {}
        self.result: dict[str, Any] = {}

    def feed(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "result":
            self.result = event
        if not kind.startswith("step."):
            return
        step = (event["stage"], event["index"])
        if kind == "step.started":
            self._steps[step] = (f"{event['stage']} {event['index'] + 1}", [])
        elif kind == "step.text":
            self._steps[step][1].append(event["text"])
        else:
            self._steps[step] = (f"{self._steps[step][0]}: {_ending(event)}", self._steps[step][1])

    def panels(self, *, whole: bool) -> list[Panel]:
        panels = []
        for title, pieces in self._steps.values():
            text = "".join(pieces).strip()
            shown = text if whole else "\n".join(text.splitlines()[-TAIL:])
            panels.append(Panel(Text(shown), title=escape(title), title_align="left"))
        return panels

    def render(self) -> Group:
        return Group(*self.panels(whole=False))


def _ending(event: dict[str, Any]) -> str:
    if event["stage"] == "critique":
        belief = "" if event["p_correct"] is None else f", p(correct) {event['p_correct']:.2f}"
        return f"{event['verdict']}{belief}"
    return f"answer {event['answer']}" if event["answer"] is not None else f"no answer ({event['finish_reason']})"


def _summary(console: Console, result: dict[str, Any]) -> None:
    votes = ", ".join(f"{escape(c['answer'])} x{len(c['members'])} ({c['weight']:g})" for c in result["outcome"]["candidates"])
    usage, timing = result["usage"], result["timing"]
    console.print(f"[bold]answer: {escape(str(result['answer']))}[/bold]   votes: {votes or 'none'}")
    console.print(
        f"stopped: {result['outcome']['stop']}, critic: {result['outcome']['critic']}; "
        f"{usage['completion_tokens']} tokens generated in {timing['wall_s']:.1f} s",
        highlight=False,
    )
