"""What the arms of `cft_vs_sft` learn: rows of the same problems, and of each as many as make the same number of trained tokens.

Measures nothing. A row of every arm is a chat and the reply to learn, so that critiques and solutions stand in one file.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from evalsuite import tasks
from redraft import prompts, records
from trainer.checking import MathChecker
from trainer.config import Method, Source
from trainer.data.rows import read
from trainer.fitting.base import base_folder, load_renderer
from trainer.stages.critique import critique
from trainer.stages.inject import inject
from trainer.stages.select import select
from trainer.stages.solutions import solutions
from trainer.stages.verify import verify
from trainer.teachers.symbolic import Approach
from trainer.teachers.wordings import Wording

GOLD, NOISY, CFT, ANCHOR = "sft_gold", "sft_noisy", "cft", "cft_anchor"
ARMS = (GOLD, NOISY, CFT, ANCHOR)
HELD_OUT = {"redraft-arith": "redraft-arith-hard", "redraft-arith-hard": "redraft-arith"}
"""Each family's problems are of kinds that the other does not have."""
TRAIN_SEED = 100


@dataclass(frozen=True)
class Plan:
    """The sizes of the experiment; all of it stands in the result."""

    model: str
    task: str
    seeds: int
    first_seed: int
    problems: int
    tokens: int
    anchor: float
    rank: int
    learning_rate: float
    batch_size: int
    test_problems: int
    critique_tokens: int
    answer_tokens: int
    approach: str
    wording: str
    responses: str | None
    test_responses: str | None

    @property
    def held_out(self) -> str:
        return HELD_OUT[self.task]

    @property
    def runs(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)


def make_data(plan: Plan, seed: int, folder: Path, tests: Sequence[Path], console: Console) -> dict[str, Path]:
    """The rows of every arm, all of the same problems. What `--responses` brings must not be in `tests`; the `-train` tasks never are."""
    gold, given = folder / "solutions.jsonl", folder / "responses.jsonl"
    made, kept, critiques, noisy = (folder / f"{name}.jsonl" for name in ("critiques", "kept", "cft", "noisy"))
    checker = MathChecker()
    if plan.responses is None:
        solutions(tasks.load(f"{plan.task}-train@{TRAIN_SEED + seed}", limit=plan.problems), gold)
        inject(gold, given, checker, seed=seed, console=console)
    else:
        given = Path(plan.responses)
        answered = (row for _, row in records.read(given) if row.get("solution"))
        write(gold, unique({"problem": row["problem"], "solution": boxed(row["solution"], row["gold"])} for row in answered))
    approach, wording = Approach(plan.approach), Wording(plan.wording)
    critique(given, made, checker, seed=seed, samples=1, approach=approach, wording=wording, console=console)
    verify(made, kept, checker, test_sets=tests if plan.responses else [], console=console)
    select(kept, critiques, right=0.5, limit=None, seed=seed)
    write(noisy, ({"problem": row["problem"], "solution": row["response"]} for _, row in records.read(critiques)))
    return {GOLD: gold, NOISY: noisy, CFT: critiques}


def boxed(solution: str, gold: str) -> str:
    """A solution that ends as the solver's prompt asks for."""
    return solution if "\\boxed{" in solution else f"{solution}\n\\boxed{{{gold}}}"


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    records.write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def unique(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for row in rows:
        text = json.dumps(row, sort_keys=True)
        if text not in seen:
            seen.add(text)
            yield row


def trained_lengths(model: str, path: Path, method: Method) -> list[int]:
    """Trained tokens of every row of a file, in order."""
    renderer = load_renderer(base_folder(model))
    return [len(renderer.render(example).completion) for example in read(Source(path=path), method)]


def cut(lengths: Sequence[int], budget: int, seed: int) -> list[int]:
    """Places of rows with `budget` trained tokens together, to within one row: whole shuffled passes, and a part of one more."""
    if not any(lengths):
        raise ValueError("expected rows that train something")
    chance = random.Random(f"cut:{seed}")
    taken: list[int] = []
    total = 0
    while True:
        for place in chance.sample(range(len(lengths)), len(lengths)):
            if total + lengths[place] / 2 > budget:
                return taken
            taken.append(place)
            total += lengths[place]


def anchored(critiques: int, golds: int, share: float, seed: int) -> list[tuple[int, bool]]:
    """Rows of one pass with an anchor: `(place, is a solution)`, so that `share` of them are solutions."""
    chance = random.Random(f"anchor:{seed}")
    count = round(critiques * share / (1 - share))
    picked = [chance.randrange(golds) for _ in range(count)] if count > golds else chance.sample(range(golds), count)
    return [(place, False) for place in range(critiques)] + [(place, True) for place in picked]


def arm_rows(plan: Plan, arm: str, data: dict[str, Path], seed: int, folder: Path) -> Path:
    """The file that an arm learns: exactly so many trained tokens."""
    lines = {name: path.read_text(encoding="utf-8").splitlines() for name, path in data.items()}
    lengths = {name: trained_lengths(plan.model, path, Method.CFT if name == CFT else Method.SFT) for name, path in data.items()}
    if arm == ANCHOR:
        mixed = anchored(len(lines[CFT]), len(lines[GOLD]), plan.anchor, seed)
        sides = [(CFT, GOLD)[is_gold] for _, is_gold in mixed]
        rows = [prompt_completion(data[side], lines[side][place]) for side, (place, _) in zip(sides, mixed, strict=True)]
        sizes = [lengths[side][place] for side, (place, _) in zip(sides, mixed, strict=True)]
    else:
        rows, sizes = [prompt_completion(data[arm], line) for line in lines[arm]], lengths[arm]
    path = folder / f"train-{arm}.jsonl"
    records.write_atomic(path, "".join(rows[place] + "\n" for place in cut(sizes, plan.tokens, seed)))
    return path


def prompt_completion(path: Path, line: str) -> str:
    """A row as the chat and the reply that are learnt: rows of both kinds stand in one file."""
    row = json.loads(line)
    if path.stem == CFT:
        chat, reply = prompts.critique_messages(row["problem"], row["response"]), prompts.critique_reply(row["critique"], row["conclusion"])
    else:
        chat, reply = prompts.solve_messages(row["problem"]), row["solution"]
    return json.dumps({"prompt": list(chat), "completion": reply}, ensure_ascii=False)
