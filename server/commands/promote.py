"""`redraft promote NAME --task T`: the canary of an adapter takes over only if it is measurably better than what serves.

Both revisions answer the same problems, asked by `evalsuite run` in a process of its own; `evalsuite compare` pairs them. The record of
the decision goes into the adapter's history.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from redraft.errors import BadRequest, EngineFailed
from server.commands import talk
from server.commands.adapters import located, path_of

REST = {"allow_extra_args": True, "ignore_unknown_options": True}
NOT_BETTER = 3
"""Exit code when the candidate stays where it is."""


def promote(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The adapter.")],
    task: Annotated[str, typer.Option(help="An evalsuite task; further options are those of `evalsuite run`.")],
    source: Annotated[str | None, typer.Option(help="Load this folder first, as a canary without traffic.")] = None,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Promote only with an exact McNemar p below this.")] = 0.05,
    as_critic: Annotated[bool, typer.Option("--as-critic", help="Measure it as the loop's critic, not as the model.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where both runs are kept.  [default: a temporary folder]")] = None,
    server: talk.ServerUrl = talk.DEFAULT_SERVER,
) -> None:
    """Measure NAME's canary against what serves, on the same problems; promote it only if it is better."""
    if source is not None:
        talk.call(server, "POST", "/adapters", {"name": name, "source": located(source), "canary": 0})
    adapter = talk.call(server, "GET", path_of(name))
    if adapter["canary"] is None:
        raise BadRequest(f"`{name}` has no canary to measure: give its folder with --source", param="source")
    old, new = adapter["revision"], adapter["canary"]["revision"]
    with tempfile.TemporaryDirectory() as folder:
        runs = {revision: (out or Path(folder)) / revision for revision in (old, new)}
        for revision, run in runs.items():
            chosen = ["--strategy", "loop", "--critic", revision] if as_critic else ["--model", revision]
            _evalsuite("run", "--task", task, "--base-url", f"{server}/v1", *chosen, "--out", str(run), *context.args)
        compared = json.loads(_evalsuite("compare", str(runs[old]), str(runs[new]), "--json"))
    better, why = decide(compared, alpha)
    record = {"task": task, "alpha": alpha, "before": old, "candidate": new, "options": context.args, **why}
    Console().print_json(json.dumps(record))
    if not better:
        print(f"{new} is not promoted: {old} goes on serving")
        raise typer.Exit(NOT_BETTER)
    _still(server, name, old, new)
    talk.call(server, "PUT", path_of(name), {"promote": True, "why": record})
    print(f"{name} serves {new}")


def decide(compared: dict[str, Any], alpha: float) -> tuple[bool, dict[str, Any]]:
    """Whether B is better than A: more problems that only it gets right, and a two-sided exact p below `alpha`."""
    test = compared["mcnemar"]
    if test is None:
        raise BadRequest("promotion compares one answer a problem: sample one response (`--n 1`)", param="n")
    better = test["only_b_right"] > test["only_a_right"] and test["p"] < alpha
    return better, {"mcnemar": test, "difference": compared["difference"], "problems": compared["problems"], "promoted": better}


def _still(server: str, name: str, old: str, new: str) -> None:
    """Raises when what was measured is no longer what is there."""
    now = talk.call(server, "GET", path_of(name))
    if now["revision"] != old or now["canary"] is None or now["canary"]["revision"] != new:
        raise BadRequest(f"`{name}` was changed while it was measured; nothing is promoted")


def _evalsuite(*arguments: str) -> str:
    """Standard output of an evalsuite command; its progress is shown. Raises EngineFailed when it fails."""
    done = subprocess.run([sys.executable, "-m", "evalsuite.cli", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise EngineFailed(f"`evalsuite {arguments[0]}` ended with {done.returncode}; nothing is promoted")
    return done.stdout
