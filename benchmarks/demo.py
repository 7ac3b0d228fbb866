"""`make demo`: a real vLLM serves the embedded model; a solver and a critic are trained, swapped in and measured.

    python -m benchmarks.demo [--rows 20]

The embedded model has 135M parameters and solves hardly anything by itself, so a small solver adapter is fitted first: then there is
something to judge and to improve. The table at the end is the honest one of such a model: see the README for what larger ones do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Column, Table

from benchmarks.servers import REDRAFT, free_port, running
from redraft import home

BIN = Path(sys.executable).parent
RECIPES = Path(__file__).parent.parent / "trainer" / "recipes"
TASK = "redraft-arith"
PROBLEM = "Tom has 3 apples and buys 4 more apples. How many apples does Tom have now?"
WRONG = "Tom starts with 3 apples. He buys 4 more, so 3 + 4 = 8. The answer is \\boxed{8}."
RIGHT = "Tom starts with 3 apples. He buys 4 more, so 3 + 4 = 7. The answer is \\boxed{7}."
SOLVER, CRITIC = "solver", "critic"
UNSEEN = 12
TOKENS = 128
"""The longest draft: a small model that has not answered by then has lost its way."""
SHORT = {"REDRAFT_LOOP__RESPONSE_TOKENS": str(TOKENS), "REDRAFT_LOOP__CRITIQUE_TOKENS": "96"}
ASKED = ["--critique", "always"]
"""Nobody has measured these critics well enough to move a vote: they are asked all the same, to be seen at work."""
VOTE = ["--n", "5", "--temperature", "0.7"]
TABLE: dict[str, tuple[str, list[str]]] = {
    "base, direct": (home.DEFAULT_MODEL, ["--strategy", "direct"]),
    "solver, direct": (SOLVER, ["--strategy", "direct"]),
    "solver, vote": (SOLVER, ["--strategy", "vote", *VOTE]),
    "with critic, loop": (SOLVER, ["--strategy", "loop", "--critic", CRITIC, *ASKED, *VOTE]),
}


class Demo:
    """The parts of the demonstration, in the order in which they are shown."""

    def __init__(self, work: Path, console: Console) -> None:
        self.work, self.console = work, console
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def run(self, rows: int) -> None:
        started = time.monotonic()
        with ExitStack() as stack:
            self.console.rule("1. redraft serve")
            with self.console.status("vLLM is starting (about 40 s)"):
                env = {**SHORT, "REDRAFT_ADAPTERS__ROOTS": json.dumps([str(self.work)])}
                command = [str(REDRAFT), "serve", "--port", str(self.port)]
                stack.enter_context(running(command, health=f"{self.url}/health/ready", log=self.work / "serve.log", env=env))
            self.console.print(f"{home.DEFAULT_MODEL} is served at {self.url}/v1 after {time.monotonic() - started:.0f} s")
            self.console.rule("2. solve -> critique -> revise, by the base model alone")
            self._show("redraft", "solve", PROBLEM, "--server", self.url, "--drafts", "4", "--seed", "7", *ASKED)
            self.console.rule("3. a solver: solutions -> fit -> swapped in")
            self._train("cpu-demo-solver.yaml", SOLVER)
            self._show("redraft", "solve", PROBLEM, "--server", self.url, "--model", SOLVER, "--drafts", "4", "--seed", "7", *ASKED)
            self.console.rule("4. a critic: solutions -> inject -> critique -> verify -> select -> fit -> swapped in")
            self._train("cpu-demo-run.yaml", CRITIC)
            self._compare(self._critiques(home.DEFAULT_MODEL), self._critiques(CRITIC))
            self.console.rule(f"5. redraft calibrate: base model and critic on {2 * UNSEEN} responses that neither has seen")
            self._calibrate()
            self.console.rule(f"6. evalsuite run: {rows} rows of {TASK}")
            self._table(rows)
        self.console.print(f"the demo took {time.monotonic() - started:.0f} s")

    def _show(self, command: str, *arguments: str) -> None:
        print(f"$ {command} {' '.join(json.dumps(a) if ' ' in a else a for a in arguments)}", flush=True)
        subprocess.run([BIN / command, *arguments], check=True)

    def _train(self, recipe: str, alias: str) -> None:
        """All stages of a recipe, the last of which hands the adapter to the running server."""
        publish = f"publish={{to: '{self.url}', alias: {alias}}}"
        self._show("trainer", "run", str(RECIPES / recipe), f"workdir={self.work / alias}", "evaluate=null", publish)

    def _critiques(self, model: str) -> list[dict[str, Any]]:
        found = []
        for response in (WRONG, RIGHT):
            body = {"problem": PROBLEM, "response": response, "model": model, "max_tokens": 96}
            answer = httpx.post(f"{self.url}/critique", json=body, timeout=300)
            answer.raise_for_status()
            found.append(answer.json())
        return found

    def _compare(self, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
        table = Table("response", "critic", "p(correct)", "critique", show_lines=True)
        for response, untrained, trained in zip((WRONG, RIGHT), before, after, strict=True):
            for said in (untrained, trained):
                belief = "" if said["p_correct"] is None else f"{said['p_correct']:.3f}"
                table.add_row(response, said["model"].partition("@")[0], belief, said["critique"])
        self.console.print(table, markup=False)

    def _calibrate(self) -> None:
        """Reference solutions of other problems, and a wrong twin of each."""
        right, both = self.work / "unseen.jsonl", self.work / "unseen-both.jsonl"
        subprocess.run([BIN / "trainer", "solutions", f"{TASK}@3", str(right), "--limit", str(UNSEEN)], check=True)
        subprocess.run([BIN / "trainer", "inject", str(right), str(both)], check=True)
        for model in (home.DEFAULT_MODEL, CRITIC):
            where = ["--server", self.url, "--out", str(self.work / f"calibration-{model}")]
            self._show("redraft", "calibrate", "--data", str(both), "--critic", model, "--max-tokens", "96", *where)

    def _table(self, rows: int) -> None:
        table = Table(Column("strategy", no_wrap=True), "accuracy", "95 % interval", "tokens a problem", "p50 latency")
        for number, (name, (model, more)) in enumerate(TABLE.items()):
            out = self.work / f"run-{number}"
            line = ["--task", TASK, "--model", model, "--base-url", self.url, "--limit", str(rows), "--max-tokens", str(TOKENS)]
            subprocess.run([BIN / "evalsuite", "run", *line, "--out", str(out), *more], check=True)
            found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
            accuracy, latency = found["accuracy"], found["latency_s"]["e2e"]
            table.add_row(
                name,
                f"{accuracy['value']:.1%}",
                f"{accuracy['low']:.1%} to {accuracy['high']:.1%}",
                f"{found['tokens']['completion_per_problem']:.0f}",
                f"{latency['p50']:.1f} s",
            )
        self.console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve, train a solver and a critic, swap them in, evaluate: on the embedded model.")
    parser.add_argument("--rows", type=int, default=20, help="problems in the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="redraft-demo-") as work:
        Demo(Path(work), Console()).run(arguments.rows)


if __name__ == "__main__":
    main()
