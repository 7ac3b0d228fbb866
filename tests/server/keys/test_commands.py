"""`redraft keys`, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.commands import keys as command
from server.keys.key import Key, Scope, digest
from server.keys.ring import Keyring
from server.keys.store import KeyFile

REDRAFT = Path(sys.executable).with_name("redraft")


@pytest.fixture
def keys(tmp_path: Path) -> Any:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"REDRAFT_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "COLUMNS": "300"}
        return subprocess.run([REDRAFT, "keys", *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment)

    return run


def test_a_key_is_made_listed_and_revoked(keys: Any, tmp_path: Path) -> None:
    made = keys(
        "create", "ann", "--scope", "eval", "--scope", "metrics", "--requests", "60", "--model", "cft", "--expires", "30d", "--json"
    )
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    ring = Keyring([], tmp_path / "home" / "keys.sqlite")
    found = ring.find(told["key"])
    assert found is not None
    assert (found.id, found.scopes, found.models, found.limits.requests) == (
        told["id"], frozenset({Scope.EVAL, Scope.METRICS}), frozenset({"cft"}), 60
    )  # fmt: skip
    assert found.expires is not None
    assert found.expires - found.created == 30 * 86_400
    plain = keys("create", "bob")
    assert ring.find(plain.stdout.strip()) is None, "the ring has not looked yet"
    assert Keyring([], tmp_path / "home" / "keys.sqlite").find(plain.stdout.strip()) is not None
    listed = keys("ls")
    assert told["id"] in listed.stdout
    assert "bob" in listed.stdout
    secrets = (told["key"].rsplit("-", 1)[1], plain.stdout.strip().rsplit("-", 1)[1])
    assert not any(secret in listed.stdout + keys("ls", "--json").stdout for secret in secrets)
    assert keys("revoke", told["id"]).stdout == f"{told['id']} (ann) is revoked\n"
    assert [key["state"] for key in json.loads(keys("ls", "--json").stdout)] == ["revoked", "active"]
    unknown = keys("revoke", "nobody")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)


def test_the_command_knows_the_servers_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRAFT_GUARD__KEYS_FILE", str(tmp_path / "set.sqlite"))
    assert command.key_file(None).path == tmp_path / "set.sqlite"
    assert command.key_file(tmp_path / "named").path == tmp_path / "named"


@pytest.mark.parametrize("span", ["0d", "30", "d", "-1d", "1.5h", "30 d", "999999d"])
def test_a_span_that_is_none_is_said_so(span: str) -> None:
    with pytest.raises(Exception, match="such as 30d"):
        command.seconds_of(span)


def test_states() -> None:
    def state(**more: Any) -> str:
        return str(command.body_of(Key("i", "n", digest("s"), frozenset(), **more))["state"])

    assert [state(), state(expires=1.0), state(expires=1.0, revoked=2.0)] == ["active", "expired", "revoked"]


def test_a_key_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "keys.sqlite").mkdir()
    done = subprocess.run(
        [REDRAFT, "keys", "ls", "--file", str(tmp_path / "keys.sqlite")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert KeyFile(tmp_path / "none").read() == []
