"""`make demo`: a real vLLM serves the embedded model, solves a problem, critiques its drafts, revises, and is measured.

    python -m benchmarks.demo [--rows 20]

The table at the end is the honest one of a 135M-parameter model: see the README for what larger models do.
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
from rich.table import Table

from benchmarks.servers import REDRAFT, free_port, running
from redraft import home

EVALSUITE = Path(sys.executable).with_name("evalsuite")
TASK = "redraft-arith"
PROBLEM = "Tom has 3 apples and buys 4 more apples. How many apples does Tom have now?"
WRONG = "Tom starts with 3 apples. He buys 4 more, so 3 + 4 = 8. The answer is \\boxed{8}."
RIGHT = "Tom starts with 3 apples. He buys 4 more, so 3 + 4 = 7. The answer is \\boxed{7}."
TOKENS = 128
"""The longest draft: a small model that has not answered by then has lost its way."""
TEMPERATURE = "0.4"
SHORT = {"REDRAFT_LOOP__RESPONSE_TOKENS": str(TOKENS), "REDRAFT_LOOP__CRITIQUE_TOKENS": "64"}
STRATEGIES: dict[str, list[str]] = {
    "direct": [],
    "vote": ["--n", "5", "--temperature", TEMPERATURE],
    "loop": ["--drafts", "5", "--temperature", TEMPERATURE],
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve, solve, critique, revise, evaluate: on the embedded model.")
    parser.add_argument("--rows", type=int, default=20, help="problems in the table")
    arguments = parser.parse_args()
    console = Console()
    started = time.monotonic()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="redraft-demo-") as work:
        console.rule("1. redraft serve")
        log = Path(work, "serve.log")
        with ExitStack() as stack:
            with console.status("vLLM is starting (about 40 s)"):
                command = [str(REDRAFT), "serve", "--port", str(port)]
                stack.enter_context(running(command, health=f"{url}/health/ready", log=log, env=SHORT))
            console.print(f"{home.DEFAULT_MODEL} is served at {url}/v1 after {time.monotonic() - started:.0f} s")
            console.rule("2. solve -> critique -> revise")
            _show("redraft", "solve", PROBLEM, "--server", url, "--drafts", "5", "--temperature", TEMPERATURE, "--seed", "7")
            console.rule("3. critique a wrong and a right solution")
            for response in (WRONG, RIGHT):
                _critique(console, url, response)
            console.rule(f"4. evalsuite run: {arguments.rows} rows of {TASK}")
            _table(console, url, arguments.rows, Path(work))
    console.print(f"the demo took {time.monotonic() - started:.0f} s")


def _show(command: str, *arguments: str) -> None:
    print(f"$ {command} {' '.join(json.dumps(a) if ' ' in a else a for a in arguments)}", flush=True)
    subprocess.run([Path(sys.executable).with_name(command), *arguments], check=True)


def _critique(console: Console, url: str, response: str) -> None:
    answer = httpx.post(f"{url}/critique", json={"problem": PROBLEM, "response": response, "max_tokens": 96}, timeout=300)
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    console.print(f"[bold]{response}[/bold]", highlight=False)
    console.print(f"{body['critique']}\n-> {body['verdict']}, p(correct) = {body['p_correct']}\n", markup=False, highlight=False)


def _table(console: Console, url: str, rows: int, work: Path) -> None:
    table = Table("strategy", "accuracy", "95 % interval", "tokens a problem", "p50 latency")
    for strategy, more in STRATEGIES.items():
        out = work / strategy
        run = [str(EVALSUITE), "run", "--task", TASK, "--model", home.DEFAULT_MODEL, "--base-url", url, "--strategy", strategy]
        subprocess.run([*run, "--limit", str(rows), "--max-tokens", str(TOKENS), "--out", str(out), *more], check=True)
        found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        accuracy, latency = found["accuracy"], found["latency_s"]["e2e"]
        table.add_row(
            strategy,
            f"{accuracy['value']:.1%}",
            f"{accuracy['low']:.1%} to {accuracy['high']:.1%}",
            f"{found['tokens']['completion_per_problem']:.0f}",
            f"{latency['p50']:.1f} s",
        )
    console.print(table)


if __name__ == "__main__":
    main()
