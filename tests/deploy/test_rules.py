"""The alert rules: they load, name series that exist, have a page to look at, and fire and stay silent where they should."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.series import DEPLOY, ROOT, all_series
from tests.deploy.test_dashboards import named

PROMTOOL = shutil.which("promtool")
FOLDER = DEPLOY / "prometheus"
TESTS = sorted((FOLDER / "tests").glob("*.test.yml"))
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules" / "redraft.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False, cwd=FOLDER)


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_rules_fire_and_stay_silent(path: Path) -> None:
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_a_broken_rule_would_be_seen(tmp_path: Path) -> None:
    text = (FOLDER / "rules" / "redraft.yml").read_text(encoding="utf-8")
    (tmp_path / "rules").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "rules" / "redraft.yml").write_text(text.replace("> 0.05", "> 0.5").replace("> 32", "> 50"))
    test = (FOLDER / "tests" / "redraft.test.yml").read_text(encoding="utf-8")
    (tmp_path / "tests" / "redraft.test.yml").write_text(test)
    done = promtool("test", "rules", str(tmp_path / "tests" / "redraft.test.yml"))
    assert done.returncode != 0
    assert {"RedraftErrors", "RedraftQueue"} <= set(re.findall(r"alertname: (\w+)", done.stderr))


@needs_promtool
def test_the_configuration_is_valid(tmp_path: Path) -> None:
    """With the paths of the container turned into those of here."""
    key = tmp_path / "key"
    key.write_text("k")
    text = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    text = text.replace("/etc/prometheus/rules", str(FOLDER / "rules")).replace("/run/secrets/redraft_key", str(key))
    (tmp_path / "prometheus.yml").write_text(text)
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


def test_every_alert_is_tested_both_ways() -> None:
    tested = [
        case for path in TESTS for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"] for case in test["alert_rule_test"]
    ]
    for kind in (True, False):
        assert {case["alertname"] for case in tested if bool(case["exp_alerts"]) is kind} == {rule["alert"] for rule in alerts()}


def test_alerts_ask_for_series_that_exist() -> None:
    known = all_series()
    assert [f"{rule['alert']}: {name}" for rule in alerts() for name in sorted(named(rule["expr"]) - known)] == []


def test_every_alert_leads_to_its_section() -> None:
    page = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    sections = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", page, re.MULTILINE)}
    for rule in alerts():
        path, _, anchor = rule["annotations"]["page"].partition("#")
        assert path == "docs/operate.md"
        assert anchor == rule["alert"].lower()
        assert anchor in sections
        assert rule["labels"]["severity"] in {"warning", "critical"}
