"""A critic that was trained here, from nothing, on the real engine: how well it judges, and what it is worth in the loop.

    python -m benchmarks.trained_critic [--rows 150] [--work runs/trained_critic] [--port 8111]

The embedded model learns to solve (`cpu-demo-solver`) and to critique (`cpu-critic-run`); both adapters are served by vLLM. The critic is
measured on responses that neither has seen: reference solutions and their wrong twins (by `trainer evaluate`), and what the solver itself
answers at a temperature of 0.8 where its answers disagree (by `redraft calibrate`), each beside the base model as critic. Then the same
problems are answered directly, by votes, adaptively and by the loop with the calibrated critic; `benchmarks.accuracy_tokens` compares them
at equal tokens. Goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.accuracy_tokens import figure, show, study
from benchmarks.report import RESULTS, hardware, save
from benchmarks.servers import REDRAFT, running
from evalsuite import compare
from redraft import calibration, home

BIN = Path(sys.executable).parent
RECIPES = Path(__file__).parent.parent / "trainer" / "recipes"
SOLVER, CRITIC = "solver", "critic"
MADE = {SOLVER: "cpu-demo-solver", CRITIC: "cpu-critic-run"}
"""Recipes, and the names of the adapters that they make."""
NAME = "trained_critic"
TOKENS = {"response": 96, "critique": 128}
SAMPLED = {"task": "redraft-arith@3", "limit": 100, "n": 6, "temperature": 0.8}
TASK = "redraft-arith@0"
DRAWN = ["--temperature", "0.8"]
RUNS: dict[str, list[str]] = {
    "loop": ["--strategy", "loop", "--critic", CRITIC, "--n", "5", *DRAWN],
    "vote16": ["--strategy", "vote", "--n", "16", *DRAWN],
    "direct": ["--strategy", "direct"],
    "adaptive8": ["--strategy", "adaptive", "--n", "8", *DRAWN],
}


def tool(name: str, *arguments: object) -> None:
    subprocess.run([BIN / name, *map(str, arguments)], check=True)


def train(work: Path) -> dict[str, Path]:
    """Both adapters' folders."""
    for adapter, recipe in MADE.items():
        tool("trainer", "run", RECIPES / f"{recipe}.yaml", f"workdir={work / adapter}")
    return {adapter: work / adapter / recipe for adapter, recipe in MADE.items()}


def judge(work: Path, url: str, critic: str, adapter: Path | None) -> dict[str, Any]:
    """The calibration of a served critic, on what the solver answers."""
    out = work / f"calibration-{critic}"
    kept = [] if adapter is None else ["--adapter", adapter]
    asked = ["--data", work / "sampled.jsonl", "--critic", critic, "--max-tokens", TOKENS["critique"]]
    tool("redraft", "calibrate", *asked, "--server", url, "--out", out, *kept)
    found: dict[str, Any] = json.loads((out / calibration.FILE).read_text(encoding="utf-8"))
    return {
        name: found[name] for name in ("judged", "balanced_accuracy", "balanced_accuracy_error", "tpr_interval", "fpr_interval", "brier")
    } | {"rates": found["calibration"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=150)
    parser.add_argument("--work", type=Path, default=Path("runs/trained_critic"), help="what is done lies here; the same command goes on")
    parser.add_argument("--port", type=int, default=8111)
    given = parser.parse_args()
    work, url = given.work.resolve(), f"http://127.0.0.1:{given.port}"
    adapters = train(work)
    env = {"REDRAFT_ADAPTERS__ROOTS": json.dumps([str(work)]), "REDRAFT_ADAPTERS__FOLDER": str(work / "store")}
    command = [str(REDRAFT), "serve", "--port", str(given.port)]
    with running(command, health=f"{url}/health/ready", log=work / "serve.log", env=env):
        for name, folder in adapters.items():
            tool("redraft", "adapters", "add", name, folder, "--server", url)
        sample = [word for key, value in SAMPLED.items() if key != "task" for word in (f"--{key}" if len(key) > 1 else f"-{key}", value)]
        more = ["--max-tokens", TOKENS["response"], "--seed", 5]
        tool("trainer", "sample", SAMPLED["task"], work / "sampled.jsonl", "--engine-url", url, "--model", SOLVER, *sample, *more)
        contested = {"base": judge(work, url, home.DEFAULT_MODEL, None), "critic": judge(work, url, CRITIC, adapters[CRITIC])}
        tool("redraft", "adapters", "add", CRITIC, adapters[CRITIC], "--server", url)
        common = ["--task", TASK, "--base-url", url, "--model", SOLVER, "--limit", given.rows, "--max-tokens", TOKENS["response"]]
        for name, strategy in RUNS.items():
            tool("evalsuite", "run", *common, "--concurrency", 8, "--seed", 1, *strategy, "--out", work / "runs" / name)
    evaluated = json.loads((work / CRITIC / "evaluate.json").read_text(encoding="utf-8"))
    with contextlib.chdir(work):  # runs are told by their paths: no folder of this machine stands in the result
        found = study([compare.load(Path("runs", name)) for name in RUNS], batch=5, confidence=0.95)
    injected = {side: evaluated[side] for side in ("base", "critic")}
    path = save(NAME, {"critic_on_injected_errors": injected, "critic_on_contested_answers": contested, **found, "hardware": hardware()})
    (RESULTS / f"{NAME}.svg").write_text(figure(found), encoding="utf-8")
    show(found)
    for where, sides in (("injected errors", injected), ("contested answers", contested)):
        print(f"critic on {where}: " + ", ".join(f"{side} {told['balanced_accuracy']:.3f}" for side, told in sides.items()))
    print(path)


if __name__ == "__main__":
    main()
