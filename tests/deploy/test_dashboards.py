"""The dashboards: their JSON is what the code makes, their panels stand in the grid, every query names series that exist and parses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("grafana_foundation_sdk", reason="the dashboards' generator is not installed")

from deploy.dashboards.__main__ import FOLDER, PAGES, drift, main, rendered
from deploy.dashboards.panels import WIDTH
from tests.deploy.series import DEPLOY, all_series, ours

PROMTOOL = shutil.which("promtool")
KEYWORDS = {
    *("sum", "max", "min", "abs", "rate", "increase", "histogram_quantile", "by", "on", "or", "and", "vector", "group_left", "absent"),
    *("label_values", "avg"),
}


def dashboards() -> dict[str, dict[str, Any]]:
    return {name: json.loads(text) for name, text in rendered().items()}


def panels(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    """(where, expression) for every panel of every dashboard."""
    found = dashboards().items()
    return [(f"{name}: {panel['title']}", target["expr"]) for name, page in found for panel in panels(page) for target in panel["targets"]]


def named(expression: str) -> set[str]:
    """The series that an expression asks for."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(?:by|on|group_left)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\boffset \w+", "", bare)
    return set(re.findall(r"[a-zA-Z_:][\w:]*", bare)) - KEYWORDS


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    assert drift(FOLDER) == []


def test_a_drift_is_seen_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "overview.json").write_text("{}")
    (tmp_path / "engine.json").unlink()
    (tmp_path / "old.json").write_text("{}")
    assert main(["--check"], tmp_path) == 1
    told = capsys.readouterr().err
    assert [line.split(";")[0] for line in told.splitlines()] == [
        "engine.json: not there",
        "old.json: no code makes it",
        "overview.json: is not what the code makes",
    ]


@pytest.mark.parametrize("name", sorted(f"{name}.json" for name in PAGES))
def test_panels_fill_the_grid_without_overlap(name: str) -> None:
    page = dashboards()[name]
    cells: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH, panel["title"]
        taken = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not taken & cells, panel["title"]
        cells |= taken
    titles = [panel["title"] for panel in panels(page)]
    assert len(titles) == len(set(titles))
    assert all(panel["description"] for panel in panels(page))
    for row, after in pairwise([p["gridPos"]["y"] for p in page["panels"] if p["type"] == "row"]):
        assert after > row


def test_every_query_asks_for_series_that_exist() -> None:
    known = all_series()
    assert [f"{where}: {name}" for where, expression in queries() for name in sorted(named(expression) - known)] == []


def test_every_series_of_ours_has_a_panel() -> None:
    """`_bucket` stands for the histogram's others."""
    shown = {family(name) for _, expression in queries() for name in named(expression)}
    assert sorted({family(name) for name in ours()} - shown) == []


def family(series: str) -> str:
    return re.sub(r"_(?:bucket|sum|count)$", "", series)


def test_a_name_that_does_not_exist_would_be_seen() -> None:
    assert named('sum by (le) (rate(vllm:gpu_cache_usage_perc{instance=~"$instance"}[5m])) / 2') == {"vllm:gpu_cache_usage_perc"}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")
def test_every_query_parses(tmp_path: Path) -> None:
    """promtool has no command for one expression without a server: as recording rules they are all parsed at once."""
    assert PROMTOOL is not None
    rules = [
        {"record": f"q{number}", "expr": expression.replace("$__rate_interval", "5m").replace("$instance", ".*")}
        for number, (_, expression) in enumerate(queries())
    ]
    assert not [rule for rule in rules if "$" in rule["expr"]]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([PROMTOOL, "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_grafana_is_told_where_everything_is() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/redraft.yaml").read_text(encoding="utf-8"))["providers"][0]
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text(encoding="utf-8"))["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (FOLDER / Path(home).name).is_file()
