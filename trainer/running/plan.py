"""What `trainer run` is to do: a YAML file with a section for each stage becomes steps with settings and files. Runs nothing.

A section's fields are the options of the stage's own command, read off its signature: there is no second list of them. The rows of a
stage are the input of the next one; `fit` learns the last ones unless its `data` names others. Paths are relative to `workdir`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from trainer import settings
from trainer.adapters.artifact import CONFIG, WEIGHTS
from trainer.commands import data, evaluate, publish
from trainer.config import FitConfig, Source, Strict
from trainer.data import sources
from trainer.errors import BadConfig

FIT, EVALUATE, PUBLISH = "fit", "evaluate", "publish"
SAMPLE, SOLUTIONS = "sample", "solutions"
CHAIN: Mapping[str, Callable[..., None]] = {
    SAMPLE: data.sample,
    SOLUTIONS: data.solutions,
    "inject": data.inject,
    "critique": data.critique,
    "verify": data.verify,
    "select": data.select,
}
"""The stages that make rows, in order."""
AFTER: Mapping[str, Callable[..., None]] = {EVALUATE: evaluate.evaluate, PUBLISH: publish.publish}
COMMANDS = {**CHAIN, **AFTER}
FILES = ("source", "output", "adapter")
"""Parameters of a command that the plan fills in."""
TASK_FILES = (".jsonl", ".csv")
HUB = "hub:"


class Section(Strict):
    """The settings of one stage."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


@dataclass(frozen=True, slots=True)
class Step:
    """One stage with all it needs. `files` go to the command by name; the content of `inputs` decides what comes out."""

    name: str
    settings: BaseModel
    files: Mapping[str, Path | str]
    inputs: tuple[Path, ...]

    @property
    def output(self) -> Path | None:
        """The file or adapter that the stage leaves."""
        found = self.files.get("output")
        return None if found is None else Path(found)


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a run, in order, and the folder that they work in."""

    workdir: Path
    steps: tuple[Step, ...]


def load(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read the YAML file, apply `section.field=value` overrides, and check it all before anything runs."""
    raw = settings.read(path, overrides)
    try:
        config = _model().model_validate(raw)
        return _Linker(config.workdir.expanduser(), config).plan()
    except ValidationError as error:
        raise BadConfig(f"{path}: " + "; ".join(settings.sentences(error))) from error
    except BadConfig as error:
        raise BadConfig(f"{path}: {error.message}", param=error.param) from error


def _model() -> Any:
    own: dict[str, Any] = {"workdir": (Path, ...), "responses": (str | None, None), FIT: (dict[str, Any] | None, None)}
    sections: dict[str, Any] = {name: (_section(name, command) | None, None) for name, command in COMMANDS.items()}
    return create_model("Run", __base__=Strict, **own, **sections)


def _section(name: str, command: Callable[..., None]) -> Any:
    fields: dict[str, Any] = {}
    for parameter in _options(command):
        kind, option = get_args(parameter.annotation)[:2]
        bounds = Field(ge=getattr(option, "min", None), le=getattr(option, "max", None))
        fields[parameter.name] = (Annotated[kind, bounds], ... if parameter.default is parameter.empty else parameter.default)
    return create_model(name, __base__=Section, **fields)


def _options(command: Callable[..., None]) -> list[inspect.Parameter]:
    return [given for name, given in inspect.signature(command, eval_str=True).parameters.items() if name not in FILES]


def _reads(command: Callable[..., None]) -> Iterable[str]:
    """The options that name files which have to be there."""
    return [given.name for given in _options(command) if getattr(get_args(given.annotation)[1], "exists", False)]


class _Linker:
    """Gives every stage of a configuration its files."""

    def __init__(self, workdir: Path, config: Any) -> None:
        self.workdir = workdir
        self.config = config
        self.steps: list[Step] = []

    def plan(self) -> Plan:
        rows = self._chain()
        if self.config.fit is not None:
            self._fit(rows)
        self._after()
        if not self.steps:
            raise BadConfig(f"expected a section for at least one stage: {', '.join([*CHAIN, FIT, *AFTER])}")
        return Plan(self.workdir, tuple(self.steps))

    def _chain(self) -> Path | str | None:
        """The steps that make rows; where the last of them leaves them."""
        if self.config.responses is not None and self.config.sample is not None:
            raise BadConfig("responses: expected a file of responses or a `sample` section, found both", param="responses")
        rows = self._responses()
        for name, command in CHAIN.items():
            section = getattr(self.config, name)
            if section is None:
                continue
            output = self.workdir / f"{name}.jsonl"
            files: dict[str, Path | str] = {"output": output}
            if name not in (SAMPLE, SOLUTIONS):
                if rows is None:
                    raise BadConfig(
                        f"{name}: expected rows to work on: a section `sample` or `solutions`, or `responses: FILE`", param=name
                    )
                files["source"] = rows
            self._add(name, self._placed(section), files, _reads(command))
            rows = rows if name == SOLUTIONS and rows is not None else output
        return rows

    def _responses(self) -> Path | str | None:
        given: str | None = self.config.responses
        if given is None or given.startswith(HUB):
            return given
        path = self.workdir / given
        if not path.is_file():
            raise BadConfig(f"responses: {path}: no such file", param="responses")
        return path

    def _fit(self, rows: Path | str | None) -> None:
        raw = dict(self.config.fit)
        raw["data"] = [self._source(item) for item in raw.get("data") or ()] or ([] if rows is None else [rows])
        raw["eval_data"] = [self._source(item) for item in raw.get("eval_data") or ()]
        raw["output"] = self.workdir / raw.get("output", "adapter")
        if isinstance(raw.get("model"), str) and (self.workdir / raw["model"]).is_dir():
            raw["model"] = str(self.workdir / raw["model"])
        try:
            config = FitConfig.model_validate(raw)
        except ValidationError as error:
            raise BadConfig("; ".join(f"fit.{sentence}" for sentence in settings.sentences(error))) from error
        inputs = [path for source in (*config.data, *config.eval_data) for path in sources.files(source)]
        if config.rft.warm_start is not None:
            worn = self.workdir / config.rft.warm_start
            config = config.model_copy(update={"rft": config.rft.model_copy(update={"warm_start": worn})})
            inputs += [worn / name for name in (CONFIG, WEIGHTS)]
        self._must_be(FIT, inputs)
        self.steps.append(Step(FIT, config, {"output": config.output}, tuple(inputs)))

    def _after(self) -> None:
        fitted = self.steps[-1] if self.steps and self.steps[-1].name == FIT else None
        for name, command in AFTER.items():
            section = getattr(self.config, name)
            if section is None:
                continue
            if fitted is None or fitted.output is None:
                raise BadConfig(f"{name}: expected a section `fit`: there is no adapter", param=name)
            if getattr(fitted.settings, "lora", None) is None:
                raise BadConfig(f"{name}: expected fit to make an adapter, and fit.lora is null", param=name)
            files: dict[str, Path | str] = {"adapter": fitted.output}
            placed = self._placed(section)
            if name == EVALUATE:
                files["output"] = self.workdir / f"{name}.json"
            elif self.steps[-1].name == EVALUATE:
                placed = placed.model_copy(update={"evaluation": [self.steps[-1].output, *(placed.evaluation or ())]})
            self._add(name, placed, files, _reads(command))

    def _add(self, name: str, placed: Any, files: dict[str, Path | str], reads: Iterable[str]) -> None:
        named = [path for field in reads for path in _paths(getattr(placed, field))]
        if hasattr(placed, "task") and _is_file(placed.task):
            named.append(Path(placed.task))
        self._must_be(name, named)
        self.steps.append(Step(name, placed, files, (*_paths(files.get("source")), *named)))

    def _must_be(self, name: str, paths: Iterable[Path]) -> None:
        """Every file that a stage reads is there already, or an earlier stage makes it."""
        made = {step.output for step in self.steps}
        for path in paths:
            if path not in made and not path.is_file():
                raise BadConfig(f"{name}: {path}: no such file, and no earlier stage makes it", param=name)

    def _source(self, item: Any) -> Any:
        """A source of `fit` with its files under `workdir`."""
        if isinstance(item, dict):
            whole = {"dataset_dir": Source.model_fields["dataset_dir"].default, **item} if "dataset" in item else item
            return {name: self.workdir / value if name in ("path", "dataset_dir") else value for name, value in whole.items()}
        return item if str(item).startswith(HUB) else self.workdir / item

    def _placed(self, section: BaseModel) -> Any:
        """The section with its paths under `workdir`."""
        placed: dict[str, Any] = {}
        for name, value in section:
            if isinstance(value, Path):
                placed[name] = self.workdir / value.expanduser()
            elif isinstance(value, list):
                placed[name] = [self.workdir / item.expanduser() if isinstance(item, Path) else item for item in value]
            elif name == "task" and _is_file(value):
                placed[name] = str(self.workdir / value)
        return section.model_copy(update=placed)


def _is_file(task: str | None) -> bool:
    return task is not None and task.endswith(TASK_FILES)


def _paths(value: Any) -> list[Path]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, Path)]
