"""Does learning to critique make a better critic, and a better solver, than learning solutions? CFT against SFT at equal trained tokens.

    python -m benchmarks.cft_vs_sft [--seeds 3] [--problems 240] [--tokens 24000] [--work runs/cft_vs_sft]

Arms: `base`; `sft_gold` (reference solutions); `sft_noisy` (responses, right and wrong); `cft` (verified critiques of the same
responses); `cft_anchor` (the same with a share of rows that are solutions). All arms of a seed see the same problems. Each learns from a
file with the same number of trained tokens (to within one row), one pass, the same rank, learning rate and batch: rows come in whole
shuffled passes and the last is cut. Nothing is sampled from a model unless `--responses` brings labelled rows of `trainer sample` to learn
from, and `--test-responses` such rows of other problems, a third kind to be asked about (`sampled`).

First every adapter is trained, then `redraft serve` loads one after another. Measured for each arm and seed, greedily, over HTTP:
(a) as a critic: balanced accuracy, TPR, TNR, Brier, on responses that it never saw, of the same kinds of problem and of held-out ones;
(c) as a solver: accuracy of direct answers, and accuracy given that the answer is well-formed (boxed, and ended by itself).
(b) the loop with a served critic against a vote at equal tokens, only with `--server URL --critic NAME`, through `evalsuite`.

It goes on where it was cut off. Intervals: Wilson, clustered by problem over seeds; bootstrap by problem for balanced accuracy and for
differences from `sft_gold`. Seeds, rows (by hash) and the command stand in the result.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.arms import ARMS, GOLD, HELD_OUT, Plan, arm_rows, make_data
from benchmarks.candidates import examine_served, serving
from benchmarks.critics import Judged, balanced, pooled, solver
from benchmarks.exam import Paper
from benchmarks.report import claim, hardware, save
from evalsuite import stats, tasks
from redraft import home, prompts, records
from trainer.config import FitConfig
from trainer.fitting.fit import fit
from trainer.origin import digest, sha256
from trainer.stages.evaluate import made_responses
from trainer.teachers.symbolic import Approach
from trainer.teachers.wordings import Wording

BASE, SAMPLED = "base", "sampled"
TEST_SEED = 0
EVALSUITE = Path(sys.executable).with_name("evalsuite")


def train(plan: Plan, arm: str, rows: Path, seed: int, console: Console) -> tuple[Path, dict[str, Any]]:
    config = FitConfig.model_validate(
        {
            "method": "sft",
            "model": plan.model,
            "data": [rows],
            "output": rows.with_name(arm),
            "lora": {"rank": plan.rank, "alpha": 2 * plan.rank},
            "optim": {"learning_rate": plan.learning_rate, "batch_size": plan.batch_size, "epochs": 1},
            "max_length": 2048,
            "seed": seed,
            "save_steps": 25,
            "log_steps": 10,
        }
    )
    fitted = fit(config, console)
    return fitted.path, fitted.manifest


def made_test(plan: Plan, task: str, work: Path, console: Console) -> Path:
    """Responses that no arm saw: solutions of test problems and their wrong twins."""
    return made_responses(f"{task}@{TEST_SEED}", work / f"test-{task}.json", limit=plan.test_problems, seed=TEST_SEED, console=console)


def report(found: dict[str, dict[int, dict[str, list[dict[str, Any]]]]]) -> dict[str, Any]:
    """`arm -> seed -> measure -> records` as numbers: each seed by itself, pooled, and against `sft_gold`."""
    arms: dict[str, Any] = {}
    for arm, by_seed in found.items():
        arms[arm] = {}
        for name in next(iter(by_seed.values())):
            runs = [by_seed[seed][name] for seed in sorted(by_seed)]
            arms[arm][name] = _critic(runs) if name.startswith("critic") else _solver(runs, _twin(found, name, arm))
    return arms


def _critic(runs: list[list[dict[str, Any]]]) -> dict[str, Any]:
    judged = [[Judged(row["problem"], row["label"] == prompts.RIGHT, row["verdict"], row["p_correct"]) for row in run] for run in runs]
    return {"seeds": [balanced(run, seed=index).as_json() for index, run in enumerate(judged)], "pooled": pooled(judged)}


def _twin(found: dict[str, dict[int, dict[str, list[dict[str, Any]]]]], name: str, arm: str) -> list[list[dict[str, Any]]] | None:
    """What is compared with: the same measure of `sft_gold`, seed by seed."""
    return None if arm in (BASE, GOLD) or GOLD not in found else [found[GOLD][seed][name] for seed in sorted(found[arm])]


def _solver(runs: list[list[dict[str, Any]]], gold: list[list[dict[str, Any]]] | None) -> dict[str, Any]:
    told: dict[str, Any] = {"seeds": [solver([run]) for run in runs], "pooled": solver(runs)}
    if gold is not None:
        mine, theirs = (shares(side) for side in (runs, gold))
        told["minus_sft_gold"] = dataclasses.asdict(stats.paired_bootstrap([theirs[key] for key in mine], list(mine.values())))
    return told


def shares(runs: list[list[dict[str, Any]]]) -> dict[str, float]:
    """For each problem the share of seeds that answer it right."""
    hits: dict[str, list[bool]] = {}
    for run in runs:
        for row in run:
            hits.setdefault(row["problem"], []).append(row["right"])
    return {problem: sum(found) / len(found) for problem, found in hits.items()}


def loop_against_vote(url: str, model: str, critic: str, task: str, rows: int, work: Path) -> dict[str, Any]:
    """(b): the same drafts budget, `loop` with the critic and `vote`, compared by evalsuite at equal tokens."""
    asked = {"--task": f"{task}@{TEST_SEED}", "--base-url": url, "--model": model, "--limit": str(rows)}
    common = [word for pair in {**asked, "--temperature": "0.7", "--seed": "0"}.items() for word in pair]
    runs = {"vote": ["--n", "12"], "loop": ["--n", "5", "--critic", critic]}
    for strategy, more in runs.items():
        command = [str(EVALSUITE), "run", *common, "--strategy", strategy, *more, "--out", str(work / strategy)]
        subprocess.run(command, check=True)
    compared = subprocess.run(
        [str(EVALSUITE), "compare", str(work / "vote"), str(work / "loop"), "--json"], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(compared.stdout)
    return found


def papers(plan: Plan, tests: dict[str, Path]) -> list[Paper]:
    """What every arm is asked: responses and problems that none has seen."""

    def paper(name: str, responses: Path, problems: Sequence[tasks.Problem]) -> Paper:
        rows = [row for _, row in records.read(responses)]
        return Paper(name, rows, problems, critique_tokens=plan.critique_tokens, answer_tokens=plan.answer_tokens)

    made = [
        paper(where, tests[task], tasks.load(f"{task}@{TEST_SEED}", limit=plan.test_problems).problems)
        for where, task in (("in_domain", plan.task), ("held_out_kinds", plan.held_out))
    ]
    return made if plan.test_responses is None else [*made, paper(SAMPLED, tests[SAMPLED], answered_in(tests[SAMPLED]))]


def answered_in(responses: Path) -> list[tasks.Problem]:
    """The problems that a file of responses answers, each once."""
    golds = {row["problem"]: row["gold"] for _, row in records.read(responses)}
    return [tasks.Problem(id=digest(problem)[:12], problem=problem, answer=gold) for problem, gold in golds.items()]


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One arm of one seed (the base model has neither adapter nor training), and where its answers lie."""

    arm: str
    seed: int
    adapter: Path | None
    log: Path
    manifest: dict[str, Any]

    def told(self) -> dict[str, Any]:
        """What it was trained on, for the result."""
        return {
            "arm": self.arm,
            "seed": self.seed,
            "rows": self.manifest["examples"],
            "trained_tokens": self.manifest["trained_tokens"],
            "rows_sha256": self.manifest["data"][0]["sha256"],
            "steps": self.manifest["metrics"]["steps"],
            "train_loss": self.manifest["metrics"]["train_loss"],
            "content_sha256": self.manifest["content_sha256"],
        }


def trained(plan: Plan, tests: dict[str, Path], work: Path, console: Console) -> Iterator[Entrant]:
    """The base model, and an adapter for each arm of each seed."""
    yield Entrant(BASE, plan.first_seed, None, work / BASE, {})
    for seed in plan.runs:
        folder = work / f"seed-{seed}"
        data = make_data(plan, seed, folder, list(tests.values()), console)
        for arm in ARMS:
            console.rule(f"seed {seed}, {seed - plan.first_seed + 1} of {plan.seeds}: {arm}")
            adapter, manifest = train(plan, arm, arm_rows(plan, arm, data, seed, folder), seed, console)
            yield Entrant(arm, seed, adapter, folder / f"measured-{arm}", manifest)


Examine = Callable[[Entrant], None]


@contextmanager
def served_exam(plan: Plan, asked: Sequence[Paper], work: Path, console: Console) -> Iterator[Examine]:
    """Examines on a server of the base model."""
    with serving(plan.model, work.resolve()) as server:

        def examine(entrant: Entrant) -> None:
            console.rule(f"asking {entrant.log.relative_to(work)}")
            adapter = None if entrant.adapter is None else entrant.adapter.resolve()
            examine_served(server, adapter, asked, entrant.log, console)

        yield examine


def run(plan: Plan, work: Path, console: Console) -> dict[str, Any]:
    """Every arm and seed, from data to numbers; what is there already is not done again."""
    tests = {task: made_test(plan, task, work, console) for task in (plan.task, plan.held_out)}
    if plan.test_responses is not None:
        tests[SAMPLED] = Path(plan.test_responses)
    asked = papers(plan, tests)
    entrants = list(trained(plan, tests, work, console))
    waiting = [entrant for entrant in entrants if any(paper.left(entrant.log) for paper in asked)]
    if waiting:
        with served_exam(plan, asked, work, console) as examine:
            for entrant in waiting:
                examine(entrant)
    found: dict[str, dict[int, dict[str, list[dict[str, Any]]]]] = {}
    for entrant in entrants:
        answers = {name: rows for paper in asked for name, rows in paper.read(entrant.log).items()}
        found.setdefault(entrant.arm, {})[entrant.seed] = answers
    return {
        "plan": dict(_given(plan)),
        "test_rows_sha256": {task: sha256(path) for task, path in tests.items()},
        "trained": [entrant.told() for entrant in entrants if entrant.adapter is not None],
        "arms": report(found),
    }


def table(arms: dict[str, Any]) -> Table:
    shown = Table("arm", "balanced acc.", "held-out kinds", "Brier", "direct", "given well-formed", "minus SFT gold")
    for arm, told in arms.items():
        inside, outside, direct = told["critic/in_domain"]["pooled"], told["critic/held_out_kinds"]["pooled"], told["direct/in_domain"]
        difference = direct.get("minus_sft_gold")
        shown.add_row(
            arm,
            _said(inside["balanced_accuracy"]),
            _said(outside["balanced_accuracy"]),
            "" if inside["brier"] is None else f"{inside['brier']:.3f}",
            _said(direct["pooled"]["accuracy"]),
            _said(direct["pooled"]["given_well_formed"]),
            "" if difference is None else _said(difference),
        )
    return shown


def _said(interval: dict[str, Any] | None) -> str:
    return "none" if interval is None else f"{interval['value']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=home.DEFAULT_MODEL, help="a folder, a hub id, or the default model's name")
    parser.add_argument("--task", default="redraft-arith", choices=sorted(HELD_OUT))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="where others have been measured before")
    parser.add_argument("--problems", type=int, default=240, help="training problems of a seed")
    parser.add_argument("--tokens", type=int, default=24_000, help="trained tokens of every arm")
    parser.add_argument("--anchor", type=float, default=0.2, help="share of solutions among the rows of cft_anchor, 0.1 to 0.3")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--test-problems", type=int, default=40, help="of each kind; two responses of each are judged")
    parser.add_argument("--critique-tokens", type=int, default=160)
    parser.add_argument("--answer-tokens", type=int, default=160)
    parser.add_argument("--approach", default=Approach.STEPWISE.value, choices=list(Approach), help="the symbolic teacher's")
    parser.add_argument("--wording", default=Wording.VARIED.value, choices=list(Wording), help="the symbolic teacher's")
    parser.add_argument("--responses", help="labelled responses with golds (trainer sample) instead of injected errors")
    parser.add_argument("--test-responses", help="labelled responses (trainer sample) to other problems, to be judged too")
    parser.add_argument("--work", type=Path, default=Path("runs/cft_vs_sft"), help="what is done lies here; the same command goes on")
    parser.add_argument("--name", default="cft_vs_sft", help="of the result's file")
    parser.add_argument("--server", help="for (b): a server that serves the base and a critic")
    parser.add_argument("--critic", help="for (b): the critic's name on that server")
    return parser.parse_args(given)


def main() -> None:
    asked = arguments()
    if (asked.server is None) != (asked.critic is None):
        raise SystemExit("--server and --critic belong together")
    console = Console(stderr=True)
    plan = Plan(**{field.name: getattr(asked, field.name) for field in dataclasses.fields(Plan)})
    work = asked.work
    settled(plan, work)
    result = run(plan, work, console)
    if asked.server is not None:
        model = Path(plan.model).name
        result["loop_against_vote"] = loop_against_vote(asked.server, model, asked.critic, plan.task, plan.test_problems, work)
    command = "python -m benchmarks.cft_vs_sft " + " ".join(f"--{name.replace('_', '-')} {value}" for name, value in _given(plan))
    path = save(asked.name, {"command": command, **result, "hardware": hardware()})
    console.print(table(result["arms"]))
    print(path)


def _given(plan: Plan) -> Iterator[tuple[str, object]]:
    for name, value in dataclasses.asdict(plan).items():
        if value is not None:
            yield name, Path(str(value)).name if name in ("model", "responses", "test_responses") else value


def settled(plan: Plan, work: Path) -> None:
    """Claim the folder for this plan; more seeds may come later."""
    claim(work, {**dataclasses.asdict(plan), "seeds": None, "first_seed": None})


if __name__ == "__main__":
    main()
