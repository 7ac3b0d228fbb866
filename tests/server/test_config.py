from __future__ import annotations

from pathlib import Path

import pytest

from redraft.errors import BadRequest
from server import config
from server.commands.serve import split_model
from server.config import Limits, LoopDefaults, ServeSettings
from server.engine.entry import command_line
from server.routes.schema import LoopParams

YAML = """
port: 8001
critic: from-file
loop: {drafts: 9, rounds: 2}
calibrations: {cft: {tpr: 0.8, fpr: 0.2, n: 300}}
vllm: {max-model-len: 2048, enable-lora: false, lora-modules: [a=b, c=d]}
"""


@pytest.fixture
def yaml(tmp_path: Path) -> Path:
    path = tmp_path / "redraft.yaml"
    path.write_text(YAML, encoding="utf-8")
    return path


def test_a_flag_wins_over_the_environment_and_that_over_the_file(yaml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRAFT_PORT", "8002")
    monkeypatch.setenv("REDRAFT_LOOP__DRAFTS", "7")
    monkeypatch.setenv("REDRAFT_API_KEY", "a,b")
    found = config.load(yaml, {"port": 8003, "host": None})
    assert (found.port, found.loop.drafts, found.loop.rounds, found.critic) == (8003, 7, 2, "from-file")
    assert config.load(yaml, {}).port == 8002
    assert found.api_key == ["a", "b"]
    assert found.calibrations["cft"].calibration().balanced_accuracy == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("text", "field"), [("port: many", "port"), ("loop: {drafts: 0}", "loop.drafts"), ("prot: 1", "prot"), ("device: tpu", "device")]
)
def test_a_bad_setting_is_named(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest) as error:
        config.load(path, {})
    assert error.value.param == field
    assert f"`{field}`" in error.value.message


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no such file"):
        config.load(tmp_path / "none.yaml", {})


def test_the_users_vllm_flags_come_last_and_so_win(yaml: Path) -> None:
    line = command_line(config.load(yaml, {}), "m", ["--max-loras", "8"], cpu=True)
    assert line[-2:] == ["--max-loras", "8"]
    assert line.index("--no-enable-lora") > line.index("--enable-lora")
    assert line[line.index("--lora-modules") + 1 :][:2] == ["a=b", "c=d"]
    assert "--enforce-eager" in line
    assert "--enforce-eager" not in command_line(ServeSettings(), "m", [], cpu=False)


def test_a_bound_port_is_asked_for() -> None:
    with pytest.raises(BadRequest, match="`port`"):
        config.load(None, {"port": 0})


def test_the_model_comes_first() -> None:
    assert split_model(["Qwen/X", "--max-model-len", "9"]) == ("Qwen/X", ["--max-model-len", "9"])
    assert split_model(["--max-model-len", "9"]) == (None, ["--max-model-len", "9"])
    assert split_model([]) == (None, [])


def test_effort_scales_the_settings_within_the_limits_and_fields_beside_it_win() -> None:
    defaults, limits = LoopDefaults(drafts=5, max_tokens=1000, deadline_s=8), Limits(drafts=12, max_tokens=3000)
    low = LoopParams(effort="low").options(defaults, limits)
    assert (low.drafts, low.batch, low.rounds, low.max_tokens, low.max_calls, low.deadline_s) == (3, 2, 0, 250, 4, 2)
    high = LoopParams(effort="high", rounds=1).options(defaults, limits)
    assert (high.drafts, high.rounds, high.max_tokens, high.max_calls, high.deadline_s) == (12, 1, 3000, 256, 32)
    assert LoopParams(effort="medium").options(defaults, limits) == LoopParams().options(defaults, limits)
