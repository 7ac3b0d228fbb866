"""The configuration: overrides, and what is refused before anything is loaded."""

from __future__ import annotations

import importlib.util
import re
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
        ("lora.alora_invocation=reply", "lora.alora_invocation: only a server with activated LoRA"),
        pytest.param(
            "quantization=nf4",
            "quantization: nf4: the package 'bitsandbytes' is not installed",
            marks=pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed"),
        ),
        ("quantization=int8", "quantization"),
        ("lora.rnak=8", "lora.rnak: Extra inputs are not permitted"),
        ("optim.learning_rate=-1", "optim.learning_rate"),
        ("data=[]", "data"),
        ("report_to=[paper]", "report_to: 'paper'"),
        ("method=cfd", "method"),
        ("model.name=x", "has no fields"),
        ("rank", "expected key=value"),
        ("lora.targets=[q_proj", "'lora.targets=[q_proj': not YAML"),
    ],
)
def test_refusals_name_the_field(path: Path, override: str, says: str) -> None:
    with pytest.raises(BadConfig) as caught:
        load(path, [override])
    assert says in caught.value.message


def test_a_reporter_that_is_not_installed_is_refused_by_its_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadConfig, match="report_to: wandb: the package 'wandb' is not installed"):
        load(path, ["report_to=[wandb]"])


def test_what_the_server_allows_is_allowed(path: Path) -> None:
    assert load(path, ["lora.rank=128", "server_max_rank=128"]).lora.rank == 128
    assert load(path, ["lora.dora=true", "for_serving=false"]).lora.dora


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["lora=null", "quantization=nf4"], "weights in 4 bits cannot be trained"),
        (["lora=null", "method=dpo"], "lora: dpo trains a plain adapter"),
        (["lora.alora_invocation=reply", "server_alora=true", "method=dpo"], "lora: dpo trains a plain adapter"),
        (["lora.alora_invocation=reply", "lora.dora=true", "for_serving=false"], "cannot be combined with lora.dora"),
    ],
)
def test_what_cannot_be_combined_is_refused(path: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(BadConfig, match=re.escape(says)):
        load(path, overrides)


def test_all_weights_and_activated_lora_are_chosen_by_overrides(path: Path) -> None:
    assert load(path, ["lora=null"]).lora is None
    woken = load(path, ["lora.alora_invocation=reply", "server_alora=true"]).lora
    assert woken is not None
    assert woken.alora_invocation == "reply"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"none\.yaml: no such file"):
        load(tmp_path / "none.yaml")


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    heavy = "{'torch', 'transformers', 'trl', 'peft', 'datasets', 'vllm'}"
    code = f"import sys, trainer.cli; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "recipe", sorted(path for path in RECIPES.glob("*.yaml") if "workdir:" not in path.read_text()), ids=lambda recipe: recipe.stem
)
def test_every_recipe_is_a_valid_configuration(recipe: Path) -> None:
    config = load(recipe)
    assert config.output.name == recipe.stem


def test_the_papers_numbers_are_in_its_recipes() -> None:
    adapter, full, one = (load(RECIPES / f"{name}.yaml") for name in ("cft-webinstruct-50k", "cft-webinstruct-50k-full", "one-shot-cft"))
    one_full = load(RECIPES / "one-shot-cft.yaml", ["lora=null", "optim.learning_rate=5e-6", "output=models/one-shot-cft"])
    for config in (adapter, full, one, one_full):
        assert config.optim.batch_size * config.optim.accumulate == 512
        assert (config.optim.schedule, config.optim.warmup) == ("cosine", 0.1)
    assert all((config.optim.epochs, config.max_length) == (1, 2048) for config in (adapter, full))
    assert (one.optim.epochs, one.optim.weight_decay) == (50, 0.05)
    assert all((config.lora, config.optim.learning_rate) == (None, 5e-6) for config in (full, one_full))
    assert adapter.lora is not None


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
