"""`trainer run`: the steps of a plan, one after the other, each once. Knows no stage's work, only files, hashes and marks.

A stage that is complete leaves a mark in `WORKDIR/stages/` with the hash of its settings and of the content it was made from. The same
inputs and settings are not worked on again; a stage that was cut off goes on by itself; what was made otherwise is never mixed in.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console

from redraft import records
from trainer.adapters.artifact import MANIFEST
from trainer.config import FitConfig
from trainer.errors import BadRun
from trainer.origin import NOT_TRAINING, base_identity, digest, sha256
from trainer.running.plan import COMMANDS, EVALUATE, FIT, PUBLISH, Plan, Step

MARKS = "stages"
NOT_DECIDING = {
    "engine_url",
    "serve",
    "serve_timeout",
    "teacher_url",
    "api_key_env",
    "concurrency",
    "rate",
    "retries",
    "timeout",
    "price_in",
    "price_out",
    "cache",
    "allow_failed",
    "batch_size",
}
"""Options that say where and how fast a stage works, not what comes out."""
SIDES = ("conclusion", "label", "outcome")
"""Fields of a row that say which side it is on; the first that is there counts."""


class State(StrEnum):
    """What there is of a stage."""

    TO_DO = "to do"
    CUT_OFF = "to go on with"
    DONE = "done"
    CHANGED = "made from other settings or data"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a stage was made from, and what came of it once it was complete."""

    settings: str
    identity: str
    outputs: dict[str, str] | None = None
    """File -> hash; None while the stage is not complete."""
    rows_in: int | None = None
    rows_out: int | None = None
    note: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """A stage that is complete; `fresh` is False where it had been before."""

    step: Step
    mark: Mark
    fresh: bool


def run(plan: Plan, console: Console, *, redo: bool = False) -> list[Done]:
    """Do what is still to be done. Raises `BadRun` before any work where files were made otherwise, unless `redo` allows to remove them."""
    with _only_one(plan.workdir):
        if not redo:
            for number, step in enumerate(plan.steps, start=1):
                if _state(plan, step, settings_only=True) is State.CHANGED:
                    raise BadRun(_changed(plan, number, step))
        return [_do(plan, number, step, console, redo=redo) for number, step in enumerate(plan.steps, start=1)]


def states(plan: Plan) -> list[State]:
    """What there is of each step. A step whose inputs are still to be made is to be done, or made again."""
    return [_state(plan, step, settings_only=False) for step in plan.steps]


def _do(plan: Plan, number: int, step: Step, console: Console, *, redo: bool) -> Done:
    head = f"stage {number} of {len(plan.steps)}, {step.name}"
    state = _state(plan, step, settings_only=False)
    if state is State.CHANGED:
        if not redo:
            raise BadRun(_changed(plan, number, step))
        _remove(plan, step)
    mark = _read(plan, step)
    if state is State.DONE and mark is not None:
        console.print(f"[bold]{head}[/bold]: done before, {mark.note}", highlight=False)
        return Done(step, mark, fresh=False)
    console.rule(f"[bold]{head}[/bold]{': going on' if state is State.CUT_OFF else ''}", align="left")
    begun = Mark(_settings(step), _identity(step))
    _write(plan, step, begun)
    started = time.monotonic()
    whole = False
    try:
        said = _work(step, console)
        whole = True
    finally:
        if not whole:
            console.print(f"stopped in {head}; nothing that is done is lost: the same command goes on from here", highlight=False)
    rows_in, rows_out = _rows(step)
    done = Mark(
        begun.settings, begun.identity, _outputs(step), rows_in, rows_out, said or _note(step), round(time.monotonic() - started, 3)
    )
    _write(plan, step, done)
    return Done(step, done, fresh=True)


def _work(step: Step, console: Console) -> str:
    """Run the stage's own command; the last line that it says on standard output, where that is its result."""
    if isinstance(step.settings, FitConfig):
        from trainer.fitting.fit import fit

        fit(step.settings, console)
        return ""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        COMMANDS[step.name](**step.files, **dict(step.settings))
    return said.getvalue().strip() if step.name == PUBLISH else ""


def _state(plan: Plan, step: Step, *, settings_only: bool) -> State:
    mark = _read(plan, step)
    if step.output is None:
        return State.TO_DO
    if mark is None or not any(path.exists() for path in _files(plan, step)):
        return State.TO_DO
    if mark.settings != _settings(step):
        return State.CHANGED
    if settings_only or not _has_inputs(step):
        return State.TO_DO
    if mark.identity != _identity(step):
        return State.CHANGED
    if mark.outputs is None:
        return State.CUT_OFF
    return State.DONE if mark.outputs == _outputs(step) else State.CHANGED


def _has_inputs(step: Step) -> bool:
    adapter = step.files.get("adapter")
    return all(path.is_file() for path in step.inputs) and (adapter is None or _content(Path(adapter)) is not None)


def _settings(step: Step) -> str:
    """The hash of what decides a step's result, but for the content of files."""
    values = step.settings.model_dump(mode="json", exclude=set(NOT_TRAINING) if step.name == FIT else NOT_DECIDING)
    files = {str(path) for path in step.inputs}
    return digest([step.name, _without(values, files)])


def _without(value: Any, files: set[str]) -> Any:
    """Settings with the names of input files left out: their content counts, wherever they lie."""
    if isinstance(value, dict):
        return {name: _without(item, files) for name, item in value.items()}
    if isinstance(value, list):
        return [_without(item, files) for item in value]
    return None if isinstance(value, str) and value in files else value


def _identity(step: Step) -> str:
    adapter = step.files.get("adapter")
    worn = None if adapter is None else _content(Path(adapter))
    return digest([_settings(step), [sha256(path) for path in step.inputs], worn, *_base(step)])


def _base(step: Step) -> list[dict[str, str]]:
    """What lies in the folder that a fit trains on. A model that is named by an id is told by that name."""
    folder = Path(getattr(step.settings, "model", "")) if step.name == FIT else None
    return [base_identity(str(folder), folder)] if folder is not None and (folder / "config.json").is_file() else []


def _content(adapter: Path) -> str | None:
    manifest = adapter / MANIFEST
    return str(json.loads(manifest.read_text(encoding="utf-8"))["content_sha256"]) if manifest.is_file() else None


def _outputs(step: Step) -> dict[str, str]:
    """The hashes of what a complete step left."""
    if step.output is None:
        return {}
    if step.name == FIT:
        return {step.output.name: _content(step.output) or "missing"}
    return {step.output.name: sha256(step.output) if step.output.is_file() else "missing"}


def _files(plan: Plan, step: Step) -> list[Path]:
    """All that a step has made so far, marks of its own and half-made files too."""
    if step.name == FIT and step.output is not None:
        return [step.output, step.output.with_name(step.output.name + ".work")]
    return sorted({path for form in ("json*", "*.json*") for path in plan.workdir.glob(f"{step.name}.{form}")})


def _remove(plan: Plan, step: Step) -> None:
    """Make room for a step whose settings or data have changed. An adapter that is complete stays, whatever happens."""
    if step.name == FIT and step.output is not None and step.output.exists():
        raise BadRun(f"fit: {step.output} holds an adapter made from other settings or data, and is not removed; set fit.output to another")
    for path in _files(plan, step):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _changed(plan: Plan, number: int, step: Step) -> str:
    return (
        f"stage {number} of {len(plan.steps)}, {step.name}: what lies in {plan.workdir} was {State.CHANGED}; "
        "--redo makes it and all that follows from it again, another workdir keeps both"
    )


def _rows(step: Step) -> tuple[int | None, int | None]:
    if step.name == FIT and step.output is not None:
        return _manifest(step.output)["examples"], None
    source = next((path for path in step.inputs if path == step.files.get("source")), None)
    made = step.output if step.output is not None and step.output.suffix == ".jsonl" else None
    return (None if source is None else _count(source)), (None if made is None else _count(made))


def _count(path: Path) -> int | None:
    return sum(1 for _ in records.read(path)) if path.suffix == ".jsonl" else None


def _note(step: Step) -> str:
    """What a person wants to know of a complete stage."""
    if step.output is None:
        return ""
    if step.name == FIT:
        manifest = _manifest(step.output)
        return f"{step.output}, content {manifest['content_sha256'][:12]}, loss {manifest['metrics']['train_loss']:.4f}"
    if step.name == EVALUATE:
        found = json.loads(step.output.read_text(encoding="utf-8"))
        return ", ".join(f"{side}: {_rates(found[side])}" for side in ("critic", "base") if side in found)
    sides = Counter(next((str(record[field]) for field in SIDES if record.get(field)), "rows") for _, record in records.read(step.output))
    counts = ", ".join(f"{count} {side}" for side, count in sorted(sides.items()))
    if step.name == "verify":
        from trainer.stages.verify import report

        return f"{counts}, teacher noise {report(step.output).noise:.1%}"
    return counts


def _rates(found: dict[str, Any]) -> str:
    balanced = found["balanced_accuracy"]
    return f"balanced accuracy {'none' if balanced is None else format(balanced, '.3f')} over {found['responses']}"


def _manifest(adapter: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((adapter / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _place(plan: Plan, step: Step) -> Path:
    return plan.workdir / MARKS / f"{step.name}.json"


def _read(plan: Plan, step: Step) -> Mark | None:
    place = _place(plan, step)
    return Mark(**json.loads(place.read_text(encoding="utf-8"))) if place.is_file() else None


def _write(plan: Plan, step: Step, mark: Mark) -> None:
    records.write_atomic(_place(plan, step), json.dumps(asdict(mark), indent=1) + "\n")


@contextlib.contextmanager
def _only_one(workdir: Path) -> Iterator[None]:
    """Hold the folder: two runs in it would write into the same files. The lock goes with the process, however it ends."""
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadRun(f"{workdir}: another `trainer run` is at work here") from None
        yield
