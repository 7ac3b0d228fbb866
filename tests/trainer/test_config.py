"""The configuration: overrides, and what is refused before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import trainer
from trainer.config import FitConfig, Source, load
from trainer.errors import BadConfig

RECIPES = Path(trainer.__file__).parent / "recipes"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "fit.yaml"
    path.write_text(
        "method: cft\nmodel: some/model\ndata: [a.jsonl, {path: b.jsonl, format: cft}]\noutput: out\nlora: {rank: 8}\n", encoding="utf-8"
    )
    return path


def test_a_file_and_its_overrides(path: Path) -> None:
    config = load(path, ["lora.rank=32", "optim.learning_rate=1e-4", "lora.targets=[q_proj, v_proj]", "seed=7"])
    assert (config.lora.rank, config.optim.learning_rate, config.lora.targets, config.seed) == (32, 1e-4, ("q_proj", "v_proj"), 7)
    assert config.data[0] == Source(path=Path("a.jsonl"))
    assert load(path).lora.rank == 8


def test_a_resolved_configuration_reads_back(path: Path) -> None:
    config = load(path)
    assert FitConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("lora.rank=128", "lora.rank: 128 is over server_max_rank 64"),
        ("lora.modules_to_save=[lm_head]", "lora.modules_to_save: lm_head"),
        ("lora.targets=[q_proj, embed_tokens]", "lora.targets"),
        ("lora.dora=true", "vLLM does not serve DoRA"),
        ("lora.rnak=8", "lora.rnak: Extra inputs are not permitted"),
        ("optim.learning_rate=-1", "optim.learning_rate"),
        ("data=[]", "data"),
        ("report_to=[paper]", "report_to: 'paper'"),
        ("method=cfd", "method"),
        ("model.name=x", "has no fields"),
        ("rank", "expected key=value"),
    ],
)
def test_refusals_name_the_field(path: Path, override: str, says: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(path, [override])
    assert says in caught.value.message


def test_what_the_server_allows_is_allowed(path: Path) -> None:
    assert load(path, ["lora.rank=128", "server_max_rank=128"]).lora.rank == 128
    assert load(path, ["lora.dora=true", "for_serving=false"]).lora.dora


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"none\.yaml: no such file"):
        load(tmp_path / "none.yaml")


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    heavy = "{'torch', 'transformers', 'trl', 'peft', 'datasets', 'vllm'}"
    code = f"import sys, trainer.cli; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda recipe: recipe.stem)
def test_every_recipe_is_a_valid_configuration(recipe: Path) -> None:
    config = load(recipe)
    assert config.output.name == recipe.stem


def test_the_design_notes_example_is_the_configuration_with_its_defaults(tmp_path: Path) -> None:
    note = (RECIPES.parent.parent / "docs" / "trainer.md").read_text(encoding="utf-8")
    example = tmp_path / "fit.yaml"
    example.write_text(note.split("```yaml\n", 1)[1].split("```", 1)[0], encoding="utf-8")
    config = load(example)
    named = {"method", "model", "data", "output"}
    assert config.model_dump(exclude=named) == FitConfig.model_validate({name: getattr(config, name) for name in named}).model_dump(
        exclude=named
    )
    assert set(yaml.safe_load(example.read_text())) == set(FitConfig.model_fields)
