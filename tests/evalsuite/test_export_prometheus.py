"""A run's summary as Prometheus series: what a scrape reads, and that every series that can come out has its help."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evalsuite import export
from evalsuite.commands.measure import write_summary
from evalsuite.config import Strategy
from evalsuite.export import prometheus
from evalsuite.export.run import Exported
from tests.evalsuite.scripted_server import run_cli, says
from tests.evalsuite.test_runner import config, run, task


@pytest.fixture
async def exported(tmp_path: Path) -> Exported:
    contents = {"a": ["so 1"], "b": ["no"]}
    value, _ = await run(tmp_path / "run", config(Strategy.DIRECT), task(a="1", b="1"), says(contents))
    write_summary(tmp_path / "run", value)
    return export.load(tmp_path / "run")


def read(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    own = {"task", "strategy", "model"}
    return {
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if k not in own))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_accuracy_outcomes_and_cost(exported: Exported) -> None:
    text = prometheus.text(exported)
    found = read(text)
    accuracy = exported.summary["accuracy"]
    assert found["evalsuite_accuracy", ()] == 0.5
    assert found["evalsuite_accuracy_low", ()] == accuracy["low"] < 0.5 < accuracy["high"] == found["evalsuite_accuracy_high", ()]
    counts = exported.summary["counts"]
    told = {labels[0][1]: value for (name, labels), value in found.items() if name == "evalsuite_outcomes"}
    assert sum(told.values()) == counts["graded"] == 2
    assert all(told[outcome] == counts[outcome] for outcome in told)
    assert found["evalsuite_finished_timestamp_seconds", ()] == exported.ended.timestamp()
    assert 'task="t",strategy="direct",model="tiny"' in text


async def test_a_loops_transitions_and_its_critics_rates(exported: Exported) -> None:
    measured: dict[str, Any] = {"tpr": 0.75, "tnr": 0.25, "balanced_accuracy": 0.5, "brier": None, "auroc": None}
    loop = {"first_draft_to_final": {"wrong->right": 3, "right->wrong": 1}, "critic": measured}
    looped = replace(exported, config=replace(exported.config, critic='cft"1'), summary={**exported.summary, "loop": loop})
    found = read(prometheus.text(looped))
    assert found["evalsuite_loop_transitions", (("transition", "wrong->right"),)] == 3
    rates = {dict(labels)["rate"]: value for (name, labels), value in found.items() if name == "evalsuite_critic_rate"}
    assert rates == {"tpr": 0.75, "tnr": 0.25, "fpr": 0.75, "balanced_accuracy": 0.5}
    assert {dict(labels)["critic"] for name, labels in found if name == "evalsuite_critic_rate"} == {'cft"1'}


async def test_what_comes_out_has_its_help_and_comes_in_groups(exported: Exported) -> None:
    names = [name for name, _, _ in prometheus.samples(exported)]
    assert set(names) <= prometheus.HELP.keys()
    assert names == sorted(names, key=names.index)


async def test_the_command_writes_one_file(exported: Exported, tmp_path: Path) -> None:
    code, _, err = await run_cli("export", str(tmp_path / "run"), "--format", "prometheus", "--out", str(tmp_path / "out"))
    assert code == 0, err
    assert (tmp_path / "out" / prometheus.FILE).read_text(encoding="utf-8") == prometheus.text(exported)
