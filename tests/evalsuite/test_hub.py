"""The named tasks: local files and copies of data sets, in the columns that the hub gives them; and the hub out of reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from evalsuite.tasks import BadRow, listings, load
from evalsuite.tasks.hub import HUB
from redraft.errors import BadRequest

ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "gsm8k": ({"question": "How many?", "answer": "5 bags hold <<5*8=40>>40, and 2 more make 42.\n#### 1,042"}, "1042"),
    "math": (
        {"problem": "Find it.", "solution": r"So $x=\boxed{\frac{3}{\sqrt{2}}}$.", "level": "Level 5", "type": "Algebra"},
        r"\frac{3}{\sqrt{2}}",
    ),
    "math500": ({"problem": "Find it.", "solution": r"\boxed{2\pi}", "answer": r"2\pi", "unique_id": "test/algebra/1.json"}, r"2\pi"),
    "aime24": ({"id": 60, "problem": "Find it.", "solution": "...", "answer": "204", "year": "2024"}, "204"),
    "aime25": ({"problem": "Find it.", "answer": "070", "id": "0"}, "070"),
    "amc23": ({"id": 0, "question": "Find it.", "answer": "27.0", "url": "u"}, "27.0"),
    "minerva": ({"question": "Find it.", "solution": "...", "answer": "4e33"}, "4e33"),
    "olympiadbench": ({"id": 1606, "question": "Find them.", "final_answer": ["$1,2$", "$3$"], "unit": None}, "$1,2$, $3$"),
}
"""One row of each data set as the hub has it, and the gold that is in it."""


def as_jsonl(path: Path, row: dict[str, Any]) -> None:
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")


def as_parquet(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path.with_suffix(".parquet"))


def test_every_task_of_the_hub_has_a_row_here() -> None:
    assert ROWS.keys() == HUB.keys()
    for listing in listings()[-len(ROWS) :]:
        repo, _, revision = listing.source.partition("@")
        assert repo.count("/") == 1
        assert len(revision) == 40
        assert listing.licence
        assert listing.answer_field in ROWS[listing.name][0]
        assert "boxed" in listing.system
        assert listing.num_fewshot == 0, "chat models are measured without examples"
    assert {listing.name: listing.base_fewshot for listing in listings() if listing.base_fewshot} == {
        "gsm8k": 5, "math": 4, "math500": 4, "minerva": 4,
    }  # fmt: skip


@pytest.mark.parametrize("write", [as_jsonl, as_parquet])
@pytest.mark.parametrize("name", ROWS)
def test_a_local_file_in_the_hubs_own_columns(name: str, write: Any, tmp_path: Path) -> None:
    row, gold = ROWS[name]
    write(tmp_path / HUB[name].local, row)
    task = load(name, data_dir=tmp_path)
    (problem,) = task.problems
    assert (task.name, problem.problem, problem.answer) == (name, row[HUB[name].fields.problem], gold)
    assert task.source.startswith(str(tmp_path))


def test_a_bad_row_of_a_local_file_names_the_column_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "olympiadbench.jsonl").write_text('{"question": "a", "final_answer": ["1"]}\n{"question": "b"}\n')
    with pytest.raises(BadRow, match=r"olympiadbench\.jsonl:2: field 'final_answer' is missing"):
        load("olympiadbench", data_dir=tmp_path)
    (tmp_path / "math_test.jsonl").write_text('{"problem": "a", "solution": "no box"}\n')
    with pytest.raises(BadRow, match=r"math_test\.jsonl:1: field 'solution' is empty"):
        load("math", data_dir=tmp_path)
    (tmp_path / "aime25.parquet").write_bytes(b"not parquet")
    with pytest.raises(BadRequest, match=r"aime25\.parquet: not a Parquet file"):
        load("aime25", data_dir=tmp_path)


def test_a_copy_of_a_data_set_is_read_by_datasets_itself(tmp_path: Path) -> None:
    gsm8k = tmp_path / "openai" / "gsm8k" / "main"
    as_parquet(gsm8k / "test-00000-of-00001", ROWS["gsm8k"][0])
    as_parquet(gsm8k / "train-00000-of-00001", *({"question": f"Train {i}?", "answer": f"It is {i}.\n#### {i}"} for i in range(4)))
    task = load("gsm8k", data_dir=tmp_path, num_fewshot=2)
    assert [(p.answer, p.solution) for p in task.problems] == [("1042", "5 bags hold 40, and 2 more make 42.")]
    assert task.source == str(gsm8k.parent)
    assert all(shot.problem.startswith("Train ") for shot in task.shots)


def test_a_hub_out_of_reach_is_one_sentence_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadRequest) as raised:
        load("aime24", data_dir=tmp_path)
    said = raised.value.message
    assert "task 'aime24': HuggingFaceH4/aime_2024@2fe88a2f" in said
    assert "--data-dir DIR" in said
    assert "DIR/aime24.jsonl" in said
    assert "DIR/HuggingFaceH4/aime_2024" in said
    with pytest.raises(BadRequest, match="could not be loaded") as raised:
        load("hub:me/mine?revision=abc")
    assert "--data-dir" not in raised.value.message, "only named tasks have a place there"
