"""Loops over 1 to 10,000 engines, predicted by the model in `benchmarks.fleet` and checked against one measured machine.

    python -m benchmarks.scale_simulation measure [--model M] [--data FILE]   one server: its speed curve, then loops as they arrive
    python -m benchmarks.scale_simulation trace RUN                           lengths and answers from a vote run of evalsuite
    python -m benchmarks.scale_simulation simulate                            the predictions, results/scale_simulation.json and the figures

`simulate` takes the speed from what `measure` wrote, else from the committed benchmarks of one machine; lengths and answers from what
`trace` wrote. The random numbers are seeded: the same inputs give the same file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.fleet import POLICIES, Problem, Shape, Speed, simulate
from benchmarks.plot import Line, svg
from benchmarks.report import RESULTS, hardware, save
from benchmarks.servers import REDRAFT, free_port, running
from evalsuite import store, tasks
from evalsuite.grade import Outcome
from redraft import home

ENGINES = (1, 10, 100, 1000, 10_000)
LOOPS = 1500
PER_ENGINE = 12
"""Loops for each engine: long enough for the fleet to be as full as it will be."""
LOAD = 0.6
"""The share of an engine's most tokens a second that the simulated loops ask for."""
BATCHES = (1, 2, 4, 8, 16)
SHORT, LONG = 16, 64
PREFILL = 600
FIGURES = Path(__file__).parent.parent / "docs" / "figures"


def fitted(points: Sequence[tuple[int, float]], *, prefill_ratio: float, max_sequences: int) -> Speed:
    """The line through measured `(batch, seconds a step)`, least squares; neither part is below 0."""
    batches, seconds = np.array([b for b, _ in points], float), np.array([s for _, s in points])
    slope, base = np.polyfit(batches, seconds, 1)
    if base < 0 or slope < 0:
        base, slope = max(0.0, float(base)), max(0.0, float(slope))
    return Speed(float(base), float(slope), prefill_ratio, max_sequences)


def committed_points() -> list[tuple[int, float]]:
    """Seconds a step at batches of 1, 5 and 16 from the committed benchmarks; the first two hold a prefill of about 60 tokens too."""
    parallel = json.loads((RESULTS / "parallel_drafts.json").read_text(encoding="utf-8"))
    overhead = json.loads((RESULTS / "serving_overhead.json").read_text(encoding="utf-8"))
    one = statistics.median(row["sequential_s"] / row["sequential_tokens"] for row in parallel["problems"])
    five = statistics.median(row["loop_s"] / (row["loop_tokens"] / parallel["drafts"]) for row in parallel["problems"])
    rate = statistics.median(run["tokens_per_s"] for run in overhead["runs"]["redraft"])
    return [(1, one), (parallel["drafts"], five), (overhead["streams"], overhead["streams"] / rate)]


def traced(run: Path) -> dict[str, Any]:
    """Prompt, lengths and answers of a graded vote run. A response's tokens are its share, by characters, of those of its reply.

    A run with one response a problem says nothing of how answers scatter: then each problem has a solve rate from a Beta distribution
    whose mean is the measured accuracy, wrong answers fall on four, and lengths scatter about the measured one. `answers` says which.
    """
    found = store.load(run)
    rows = []
    for key, sample in found.samples.items():
        grade = found.grades.get(key)
        if grade is None:
            continue
        written = [len(response["content"]) or 1 for response in sample["responses"]]
        tokens = [max(1, round(sample["completion_tokens"] * share / sum(written))) for share in written]
        cluster = {index: number for number, group in enumerate(grade["groups"]) for index in group}
        answers = [cluster.get(index) for index in range(len(tokens))]
        right = grade["final"]["outcome"] == Outcome.RIGHT
        rows.append({"prompt": sample["prompt_tokens"], "responses": list(zip(tokens, answers, strict=True)), "right": right})
    if not rows:
        raise SystemExit(f"{run} holds no graded sample")
    measured = all(len(row["responses"]) > 1 for row in rows)
    accuracy = statistics.fmean(row["right"] for row in rows)
    if not measured:
        rng = random.Random(0)
        rows = [{**row, "responses": _scattered(row["responses"][0][0], accuracy, rng)} for row in rows]
    problems = [{"prompt": row["prompt"], "responses": row["responses"]} for row in rows]
    config = store.load_json(run / store.CONFIG)
    about = {name: config[name] for name in ("task", "model", "strategy")}
    return {"source": about, "answers": "measured" if measured else "assumed", "accuracy": accuracy, "problems": problems}


def _scattered(tokens: int, accuracy: float, rng: random.Random, n: int = 16) -> list[tuple[int, int]]:
    rate = rng.betavariate(1.5 * accuracy, 1.5 * (1 - accuracy))
    answers = [0 if rng.random() < rate else 1 + int(rng.random() ** 2 * 4) for _ in range(n)]
    return [(max(1, round(tokens * rng.lognormvariate(0, 0.25))), answer) for answer in answers]


def problems_of(rows: Sequence[dict[str, Any]]) -> list[Problem]:
    return [Problem(row["prompt"], tuple((tokens, answer) for tokens, answer in row["responses"])) for row in rows]


# -- one measured machine ----------------------------------------------------------------------------------------------------------


async def _wall(client: httpx.AsyncClient, model: str, batch: int, tokens: int, words: int = 20) -> float:
    """Seconds for `batch` different chats of exactly `tokens` tokens side by side."""

    def body(number: int) -> dict[str, Any]:
        text = " ".join(str(random.Random(f"{time.time()} {number}").randrange(1000)) for _ in range(words))
        ask = [{"role": "user", "content": f"{text} Count on."}]
        return {"model": model, "messages": ask, "max_tokens": tokens, "min_tokens": tokens, "ignore_eos": True, "temperature": 1.0}

    started = time.perf_counter()
    replies = await asyncio.gather(*(client.post("/v1/chat/completions", json=body(number)) for number in range(batch)))
    for reply in replies:
        reply.raise_for_status()
    return time.perf_counter() - started


async def _arrivals(client: httpx.AsyncClient, model: str, asked: Sequence[str], rate: float, tokens: int) -> list[dict[str, Any]]:
    """Loops without critique, as a Poisson process; each with its seconds, lengths and answers."""
    rng = random.Random("arrivals")

    async def one(problem: str, after: float, number: int) -> dict[str, Any]:
        await asyncio.sleep(after)
        loop = {"drafts": 5, "rounds": 0, "response_tokens": tokens, "max_tokens": 5 * tokens, "seed": number}
        started = time.perf_counter()
        found = (await client.post("/solve", json={"problem": problem, "model": model, "loop": loop})).raise_for_status().json()
        seconds, usage = time.perf_counter() - started, found["usage"]
        return {
            "seconds": seconds,
            "tokens": usage["completion_tokens"],
            "prompt": usage["prompt_tokens"] // 2,
            "responses": _drafts(found),
        }

    when, tasks_ = 0.0, []
    for number, problem in enumerate(asked):
        when += rng.expovariate(rate)
        tasks_.append(asyncio.create_task(one(problem, when, number)))
    return list(await asyncio.gather(*tasks_))


def _drafts(found: dict[str, Any]) -> list[tuple[int, int | None]]:
    steps = [step for step in found["transcript"] if step["finish_reason"] != "cancelled"]
    whole = sum(len(step["content"]) for step in found["transcript"]) or 1
    cluster = {index: number for number, one in enumerate(found["outcome"]["candidates"]) for index in one["members"]}
    made = found["usage"]["completion_tokens"]
    return [(max(1, round(made * len(step["content"]) / whole)), cluster.get(step["index"])) for step in steps]


async def _measured(url: str, model: str, asked: Sequence[str], load: float, tokens: int) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url, timeout=1800, trust_env=False) as client:
        await _wall(client, model, 2, SHORT)
        points = []
        for batch in BATCHES:
            short, long = await _wall(client, model, batch, SHORT), await _wall(client, model, batch, LONG)
            points.append((batch, (long - short) / (LONG - SHORT)))
            print(f"batch {batch}: {points[-1][1] * 1000:.0f} ms a step", flush=True)
        prefill = (await _wall(client, model, 1, 1, PREFILL) - await _wall(client, model, 1, 1, 20)) / (PREFILL - 20)
        speed = fitted(points, prefill_ratio=max(0.0, prefill / points[0][1]), max_sequences=256)
        rate = load * speed.tokens_per_s(BATCHES[-1]) / (5 * tokens)
        loops = await _arrivals(client, model, asked, rate, tokens)
    return {"points": points, "speed": asdict(speed), "rate": rate, "loops": loops}


def measure(arguments: argparse.Namespace) -> None:
    """Start a server on this machine, alone, and keep what it did."""
    asked = [problem.problem for problem in tasks.load(arguments.data, limit=arguments.loops).problems]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(REDRAFT), "serve", arguments.model, "--port", str(port)]
    with tempfile.TemporaryDirectory() as logs, running(command, health=f"{url}/health/ready", log=Path(logs, "serve.log")):
        name = httpx.get(f"{url}/v1/models", trust_env=False).json()["data"][0]["id"]
        found = asyncio.run(_measured(url, name, asked, arguments.load, arguments.tokens))
    save("scale_measured", {"model": name, **found, "hardware": hardware()})


def checked(measured: dict[str, Any]) -> dict[str, Any]:
    """The model of one engine beside what one engine did: the same rate, lengths and answers."""
    problems, speed = problems_of([row for row in measured["loops"] if row["responses"]]), Speed(**measured["speed"])
    seconds = sorted(row["seconds"] for row in measured["loops"])
    p95 = seconds[int(0.95 * (len(seconds) - 1))]
    runs = [
        simulate(problems, Shape(), speed, engines=1, rate=measured["rate"], policy="random", loops=LOOPS, seed=seed) for seed in range(5)
    ]
    return {
        "measured": {"p50": statistics.median(seconds), "p95": p95, "tokens": statistics.fmean(row["tokens"] for row in measured["loops"])},
        "predicted": {
            "p50": statistics.fmean(run["seconds"]["p50"] for run in runs),
            "p95": statistics.fmean(run["seconds"]["p95"] for run in runs),
            "tokens": statistics.fmean(run["tokens"] for run in runs),
        },
    }


# -- the predictions ---------------------------------------------------------------------------------------------------------------


def predict(problems: Sequence[Problem], speed: Speed, *, engines: Sequence[int], load: float, loops: int) -> list[dict[str, Any]]:
    """Every policy at every size, at one load an engine."""
    shape = Shape(critiqued=True)
    alone = simulate(problems, shape, speed, engines=1, rate=1e-6, policy="random", loops=400)
    rate = load * speed.tokens_per_s(64) / alone["tokens"]
    rows = []
    for size in engines:
        for policy in POLICIES if size > 1 else POLICIES[:1]:
            many = max(loops, PER_ENGINE * size)
            rows.append(simulate(problems, shape, speed, engines=size, rate=rate, policy=policy, loops=many))
            print(json.dumps(rows[-1]), flush=True)
    return rows


def predictions(arguments: argparse.Namespace) -> None:
    trace = json.loads((RESULTS / "scale_trace.json").read_text(encoding="utf-8"))
    path = RESULTS / "scale_measured.json"
    measured = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    points = [tuple(point) for point in measured["points"]] if measured else committed_points()
    speed = Speed(**measured["speed"]) if measured else fitted(points, prefill_ratio=0.05, max_sequences=256)
    problems = problems_of(trace["problems"])
    sizes = [size for size in ENGINES if size <= arguments.engines]
    rows = predict(problems, speed, engines=sizes, load=arguments.load, loops=LOOPS)
    sweep = [
        {**row, "load": load}
        for load in (0.2, 0.4, 0.6, 0.8, 0.9)
        for row in predict(problems, speed, engines=[100], load=load, loops=2 * LOOPS)
    ]
    found = {
        "speed": asdict(speed),
        "speed_from": "measure" if measured else "committed benchmarks; prefill_ratio and max_sequences assumed",
        "points": points,
        "trace": {name: value for name, value in trace.items() if name != "problems"} | {"problems": len(problems)},
        "load": arguments.load,
        "check": checked(measured) if measured else None,
        "by_engines": rows,
        "by_load": sweep,
    }
    save("scale_simulation", found)
    draw(found)


def draw(found: dict[str, Any]) -> None:
    """The three figures of docs/scale.md."""
    speed = Speed(**found["speed"])
    curve = [(float(b), speed.tokens_per_s(b)) for b in range(1, 65)]
    marks = [(float(b), b / seconds) for b, seconds in found["points"]]
    lines = [Line("measured", marks, marks_only=True), Line("fitted", curve)]
    figures = {
        "scale-speed": svg("One engine", "completions side by side", "tokens a second", lines),
        "scale-engines": svg(
            f"p95 of a loop at {found['load']:.0%} load", "engines", "seconds", _lines(found["by_engines"], "engines"), log_x=True
        ),
        "scale-load": svg("p95 of a loop on 100 engines", "load", "seconds", _lines(found["by_load"], "load")),
    }
    FIGURES.mkdir(exist_ok=True)
    for name, figure in figures.items():
        (FIGURES / f"{name}.svg").write_text(figure, encoding="utf-8")


def _lines(rows: Sequence[dict[str, Any]], x: str) -> list[Line]:
    names = {policy: policy.replace("_", "-") for policy in POLICIES}
    return [
        Line(names[policy], [(row[x], row["seconds"]["p95"]) for row in rows if row["policy"] == policy and row["engines"] > 1])
        for policy in POLICIES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure")
    one.add_argument("--model", default=home.DEFAULT_MODEL)
    one.add_argument("--data", default="redraft-arith", help="a task of evalsuite, or a file")
    one.add_argument("--loops", type=int, default=60)
    one.add_argument("--tokens", type=int, default=128)
    one.add_argument("--load", type=float, default=0.5)
    two = commands.add_parser("trace")
    two.add_argument("run", type=Path)
    three = commands.add_parser("simulate")
    three.add_argument("--engines", type=int, default=ENGINES[-1], help="the largest fleet")
    three.add_argument("--load", type=float, default=LOAD)
    arguments = parser.parse_args()
    if arguments.command == "measure":
        measure(arguments)
    elif arguments.command == "trace":
        save("scale_trace", traced(arguments.run))
    else:
        predictions(arguments)


if __name__ == "__main__":
    main()
