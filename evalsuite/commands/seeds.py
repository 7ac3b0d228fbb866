"""`evalsuite run --seeds`: one run for each seed, in a folder of its own, and what they say together."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from rich.console import Console

from evalsuite import aggregate
from evalsuite.commands import show
from evalsuite.commands.exits import Exit
from evalsuite.commands.measure import SAMPLED_TEMPERATURE, Plan, measure
from evalsuite.commands.thresholds import Thresholds, failed, missed
from evalsuite.config import Sampling, Strategy
from redraft.errors import BadRequest
from redraft.records import write_atomic

FOLDER = "seed-"
AGGREGATE = "aggregate.json"


def parse(text: str, seed: int | None) -> tuple[int, ...]:
    """The seeds of `--seeds`. Raises BadRequest for what is not two or more different whole numbers."""
    if seed is not None:
        raise BadRequest("give either --seed or --seeds", param="seeds")
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadRequest(
            f"--seeds: expected whole numbers with commas between them, such as 1,2,3, found {text!r}", param="seeds"
        ) from error
    if len(set(seeds)) < len(seeds) or len(seeds) < 2:
        raise BadRequest(f"--seeds: expected at least two different seeds, found {text!r}; --seed is for one", param="seeds")
    return seeds


def sampled(sampling: Sampling, strategy: Strategy, temperature: float | None) -> Sampling:
    """The sampling where no seed is given yet. One response to a problem is not greedy, since seeds would change nothing then."""
    greedy = strategy is Strategy.DIRECT and temperature is None
    return replace(sampling, temperature=SAMPLED_TEMPERATURE) if greedy else sampling


def run_each(plan: Plan, seeds: tuple[int, ...], limits: Thresholds, console: Console, *, as_json: bool) -> Exit:
    """Run the plan under each seed and print what the runs say together. A seed with too many failures ends it: nothing is known then."""
    runs: list[aggregate.SeedRun] = []
    for seed in seeds:
        console.print(f"seed {seed}:", highlight=False)
        measured = measure(_under(plan, seed, first=not runs), console)
        code = failed(measured.summary, console)
        if code is not Exit.OK:
            return code
        runs.append(aggregate.load(measured.directory))
    directory, value = measured.directory.parent, aggregate.aggregate(runs)
    write_atomic(directory / AGGREGATE, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    if as_json:
        sys.stdout.write(json.dumps({**value, "directory": str(directory)}, ensure_ascii=False) + "\n")
    else:
        show.over_seeds(show.results_console(), value)
        show.results_console().print(f"results  {directory}")
    return missed(value, limits, console)


def _under(plan: Plan, seed: int, *, first: bool) -> Plan:
    """The plan of one seed. What must be there with --resume is the run of the first."""
    return replace(plan, sampling=replace(plan.sampling, seed=seed), folder=f"{FOLDER}{seed}", must_exist=plan.must_exist and first)
