from __future__ import annotations

from pathlib import Path

import pytest

from redraft import records
from redraft.errors import BadRequest


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.jsonl"
    with records.Log(path) as log:
        log.append({"a": 1})
        log.append({"b": "é\n"})
    assert [record for _, record in records.read(path)] == [{"a": 1}, {"b": "é\n"}]


def test_a_line_cut_by_a_kill_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": 2}\n{"c": ')
    with records.Log(path) as log:
        log.append({"d": 4})
    assert [record for _, record in records.read(path)] == [{"a": 1}, {"b": 2}, {"d": 4}]


@pytest.mark.parametrize(("line", "message"), [("{'a': 1}", "not JSON"), ("[1]", "expected a JSON object, found list")])
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(BadRequest, match=rf"rows\.jsonl:3: .*{message}"):
        list(records.read(path))


def test_an_atomic_write_leaves_no_parts(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    records.write_atomic(path, "one")
    records.write_atomic(path, "two")
    assert path.read_text(encoding="utf-8") == "two"
    assert list(tmp_path.iterdir()) == [path]
