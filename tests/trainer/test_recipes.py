"""Every recipe as it is committed, on a tiny model: it renders rows of its format, trains two steps, and leaves what it says."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trainer.adapters import artifact
from trainer.config import FitConfig, Format, Method, load
from trainer.fitting.fit import fit
from trainer.fitting.preview import preview

from .conftest import cft_rows
from .test_config import RECIPES

ASKED, REPLIED = "What is {} + 3?", "It is {}."
ROWS: dict[Format, Callable[[int], dict[str, Any]]] = {
    Format.CFT: lambda index: {
        "instruction": "Please critique whether the following solution to the question is correct.",
        "input": f"Question:\n{ASKED.format(index)}\n\nSolution:\n{REPLIED.format(index)}",
        "output": f"Critique:\n{index} + 3 = {index + 3}.\n\nConclusion: wrong [END]",
    },
    Format.SOLUTION: lambda index: {"problem": ASKED.format(index), "solution": REPLIED.format(index + 3)},
    Format.ALPACA: lambda index: {"instruction": "Add 3.", "input": str(index), "output": REPLIED.format(index + 3)},
    Format.SHAREGPT: lambda index: {
        "conversations": [{"from": "human", "value": ASKED.format(index)}, {"from": "gpt", "value": REPLIED.format(index + 3)}]
    },
    Format.PREFERENCE: lambda index: {"prompt": ASKED.format(index), "chosen": REPLIED.format(index + 3), "rejected": "Never."},
    Format.PROBLEM: lambda index: {"problem": ASKED.format(index), "gold": str(index + 3)},
    Format.AUTO: lambda index: cft_rows(4)[index],
}
SMALL = ("dtype=float32", "max_length=256", "optim.max_steps=2", "optim.batch_size=2", "optim.accumulate=2", "save_steps=100")
Small = Callable[..., FitConfig]


@pytest.fixture
def small(tiny_model: Path, tmp_path: Path, jsonl: Callable[..., Path]) -> Small:
    """A recipe with two steps, a tiny model and four rows in the place of each of its files."""

    def recipe(name: str, *overrides: str) -> FitConfig:
        data = [
            {"path": str(jsonl(*map(ROWS[source.format], range(4)), name=f"{source.format}.jsonl")), "format": source.format.value}
            for source in load(RECIPES / f"{name}.yaml").data
        ]
        given = (f"model={tiny_model}", f"data={json.dumps(data)}", f"output={tmp_path / name}", *SMALL, *overrides)
        return load(RECIPES / f"{name}.yaml", given)

    return recipe


def trained(config: FitConfig, quiet: Console) -> None:
    """What came of two steps is what the recipe asked for."""
    fitted = fit(config, quiet)
    metrics, lora = fitted.manifest["metrics"], config.lora
    assert metrics["steps"] == 2
    assert fitted.manifest["examples"] == 4 * len(config.data)
    if lora is None:
        assert (fitted.path / "model.safetensors").is_file()
        return
    adapter = json.loads((fitted.path / artifact.CONFIG).read_text(encoding="utf-8"))
    found = (adapter["r"], adapter["lora_alpha"], adapter["use_rslora"], adapter["use_dora"])
    assert found == (lora.rank, lora.alpha, lora.rslora, lora.dora)


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in RECIPES.glob("*.yaml") if "workdir:" not in path.read_text() and path.stem != "rft-grpo")
)
def test_a_recipe_trains_two_steps(small: Small, quiet: Console, name: str) -> None:
    config = small(name)
    shown = Console(file=io.StringIO(), force_terminal=True, width=200, color_system="standard")
    preview(config, shown, 1)
    assert "\x1b[1;30;42m<|im_end|>" in shown.file.getvalue()  # type: ignore[attr-defined]
    trained(config, quiet)


def test_the_papers_recipe_for_one_problem_trains_all_weights_too(small: Small, quiet: Console) -> None:
    trained(small("one-shot-cft", "lora=null", "optim.learning_rate=5e-6"), quiet)


def test_grpo_goes_on_from_its_warm_up(small: Small, quiet: Console, tmp_path: Path) -> None:
    warm_up = small("sft-solutions", f"output={tmp_path / 'warm-up'}")
    trained(warm_up, quiet)
    fewer = ("rft.num_generations=2", "rft.max_completion_length=8", f"rft.warm_start={warm_up.output}")
    trained(small("rft-grpo", *fewer), quiet)


def test_the_recipes_are_of_every_method() -> None:
    found = {load(path).method for path in RECIPES.glob("*.yaml") if "workdir:" not in path.read_text()}
    assert found == set(Method)
