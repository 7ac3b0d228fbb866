"""BLEU and ROUGE: against their own packages, from references in files to summaries, tables and comparisons."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from sacrebleu.metrics.bleu import BLEU

from evalsuite import export, store, texts
from evalsuite.export import lm_eval, parquet
from evalsuite.tasks import BadRow, Fields, load
from redraft.errors import BadRequest
from tests.evalsuite.scripted_server import ScriptedServer, run_cli, says

RESPONSES = ["the cat sat on the mat today", "a dog ran in the park", "birds sing at dawn and at dusk", ""]
REFERENCES = [
    ["the cat sat on a mat today", "a cat was sitting on the mat"],
    ["the dog ran in the park"],
    ["birds sing at dawn and at dusk"],
    ["it rained"],
]
ALL = texts.parse("rouge, bleu")


def records(responses: list[str]) -> list[dict[str, Any]]:
    score = texts.scorer(ALL)
    return [{"scores": [score(r, refs)], "settings": texts.settings(ALL)} for r, refs in zip(responses, REFERENCES, strict=True)]


def test_bleu_is_the_corpus_score_of_sacrebleu_with_an_interval_around_it() -> None:
    value = texts.summarise(records(RESPONSES))
    streams = [[refs[0] for refs in REFERENCES], [refs[1] if len(refs) > 1 else None for refs in REFERENCES]]
    expected = BLEU().corpus_score(RESPONSES, streams)  # type: ignore[arg-type]
    assert value["bleu"]["value"] == pytest.approx(expected.score)
    assert 0 < value["bleu"]["low"] < expected.score < value["bleu"]["high"] <= 100
    assert (value["bleu"]["n"], value["bleu"]["method"]) == (4, "bootstrap by problem")
    assert value["settings"]["bleu"] == f"case:mixed|eff:no|tok:13a|smooth:exp|sacrebleu {importlib.metadata.version('sacrebleu')}"


def test_rouge_is_the_mean_of_the_best_references_and_an_empty_response_counts() -> None:
    value = texts.summarise(records(RESPONSES))
    # Unigrams in common over the mean length: 6 of 7 (its other reference has 4 of 7), 5 of 6, all, none.
    assert value["rouge1"]["value"] == pytest.approx((6 / 7 + 5 / 6 + 1 + 0) / 4)
    assert value["rouge2"]["value"] == pytest.approx((4 / 6 + 4 / 5 + 1 + 0) / 4)
    assert value["rougeL"]["value"] == pytest.approx((6 / 7 + 5 / 6 + 1 + 0) / 4)


def test_a_difference_is_that_of_the_two_scores_and_of_none_to_itself() -> None:
    a, b = records(RESPONSES), records(["the mat", "the dog ran in the park", "birds", "it rained"])
    for name in texts.names_of(a):
        found = texts.difference(name, a, b)
        both = texts.summarise(a)[name]["value"], texts.summarise(b)[name]["value"]
        assert (found["a"], found["b"]) == pytest.approx(both)
        assert found["difference"]["value"] == pytest.approx(both[1] - both[0])
        assert found["difference"]["low"] <= found["difference"]["value"] <= found["difference"]["high"]
        same = texts.difference(name, a, a)["difference"]
        assert (same["low"], same["high"]) == (0, 0), "both are resampled together"


def test_unknown_and_missing_metrics_are_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequest, match="expected bleu or rouge, with a comma between them, found 'meteor'"):
        texts.parse("bleu,meteor")

    def nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(texts, "version", nothing)
    with pytest.raises(BadRequest, match="--metric rouge needs `pip install rouge-score`"):
        texts.parse("rouge")


def rows(path: Path, *entries: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return str(path)


def test_references_are_texts_or_lists_or_else_the_answer(tmp_path: Path) -> None:
    path = rows(
        tmp_path / "t.jsonl",
        {"problem": "a", "reference": "one"},
        {"problem": "b", "reference": ["one", "two"], "answer": "2"},
        {"problem": "c", "answer": "three"},
    )
    task = load(path, fields=Fields(reference="reference"))
    assert [(p.answer, p.references) for p in task.problems] == [("", ("one",)), ("2", ("one", "two")), ("three", ())]
    rows(tmp_path / "t.jsonl", {"problem": "b", "answer": "2"})
    bare = load(path).fingerprint
    assert load(path, fields=Fields(reference="reference")).fingerprint == bare
    rows(tmp_path / "t.jsonl", {"problem": "b", "answer": "2", "reference": "other"})
    assert load(path).fingerprint == bare
    assert load(path, fields=Fields(reference="reference")).fingerprint != bare


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ({"problem": "a"}, "reference", r"t\.jsonl:1: no reference: neither field 'reference' nor 'answer' is there \(--reference-field"),
        ({"problem": "a", "answer": "1"}, "summary", r"t\.jsonl:1: field 'summary' is missing; the row has answer, problem"),
        ({"problem": "a", "reference": []}, "reference", r"t\.jsonl:1: field 'reference' is an empty list"),
        ({"problem": "a", "reference": ["x", ""]}, "reference", r"t\.jsonl:1: field 'reference\[1\]' is empty"),
        ({"problem": "a", "reference": [{}]}, "reference", r"field 'reference\[0\]': expected text or a number, found dict"),
    ],
)
def test_a_row_without_a_usable_reference_is_a_bad_row(tmp_path: Path, row: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(BadRow, match=said):
        load(rows(tmp_path / "t.jsonl", row), fields=Fields(reference=field))


@pytest.fixture
def translations(tmp_path: Path) -> str:
    return rows(
        tmp_path / "translations.jsonl",
        {"problem": "le chat", "reference": ["the cat sat on the mat", "a cat sat on a mat"]},
        {"problem": "le chien", "reference": "the dog ran in the park"},
    )


async def test_a_run_with_metrics_from_the_shell(translations: str, tmp_path: Path) -> None:
    good = {"le chat": "the cat sat on the mat", "le chien": "the dog ran in a park"}
    poor = {"le chat": "mat", "le chien": "the dog ran in the park"}
    a, b = tmp_path / "a", tmp_path / "b"
    async with ScriptedServer(says(good)) as server:
        common = ("run", "--task", translations, "--metric", "bleu,rouge", "--base-url", server.base_url)
        code, out, err = await run_cli(*common, "--out", str(a))
        assert code == 0, err
        assert [m["role"] for m in server.bodies[0]["messages"]] == ["user"], "nothing asks a translator for a box"
        server.script = says(poor)
        assert (await run_cli(*common, "--out", str(b), "--seed", "2"))[0] == 0
        lines = (a / store.RESULTS).read_text()
        assert (await run_cli(*common, "--out", str(a)))[0] == 0
        assert (a / store.RESULTS).read_text() == lines, "scored once"
    value = store.load_json(a / store.SUMMARY)
    assert value["accuracy"] is None
    assert value["counts"]["no_gold"] == 2
    assert value["text"]["rouge1"]["value"] == pytest.approx((1 + 5 / 6) / 2)
    assert re.search(rf"^bleu +{value['text']['bleu']['value']:.1f} \[\d.*\]", out, re.MULTILINE)
    assert re.search(r"^rougeL +0\.917 \[0\.833, 1\.000\]", out, re.MULTILINE)
    assert "2 no gold" in out

    code, out, err = await run_cli("compare", str(a), str(b), "--json")
    assert code == 0, err
    compared = json.loads(out)
    assert compared["difference"] is compared["mcnemar"] is compared["a"]["accuracy"] is None
    assert compared["text"]["rouge1"]["b"] == pytest.approx((2 / 7 + 1) / 2)
    code, out, _ = await run_cli("compare", str(a), str(b))
    assert code == 0
    assert "rouge1: A 0.9167, B 0.6429, B - A: -0.274 [" in out
    code, out, _ = await run_cli("table", str(a), str(b))
    assert code == 0
    assert out.splitlines()[1].split()[-3:] == ["bleu", "rouge1", "rougeL"]
    assert "0.917 [" in out

    code, _, err = await run_cli("report", str(a), str(b))
    assert code == 0, err
    page = (a / "report.html").read_text()
    assert "on 2 problems: bleu " in page
    assert "rouge1 -0.274 [" in page
    assert "<th scope=row>rougeLsum</th><td>0.917 [" in page

    (path,) = parquet.write(export.load(a), tmp_path / "out")
    found = {row["problem"]: row for row in pyarrow.parquet.read_table(path).to_pylist()}
    assert (found["le chat"]["bleu"], found["le chat"]["rouge1"]) == pytest.approx((100, 1))
    results, _ = lm_eval.write(export.load(a), tmp_path / "out")
    assert json.loads(results.read_text())["results"]["translations"]["bleu,none"] == value["text"]["bleu"]["value"]


async def test_metrics_of_a_run_that_had_none_and_what_they_do_not_go_with(tmp_path: Path) -> None:
    task = rows(tmp_path / "t.jsonl", {"problem": "a", "answer": "it is 1"})
    async with ScriptedServer(says({"a": "it is 2"})) as server:
        common = ("run", "--task", task, "--base-url", server.base_url, "--out", str(tmp_path / "out"))
        assert (await run_cli(*common))[0] == 0
        code, out, err = await run_cli("rescore", str(tmp_path / "out"), "--metric", "rouge", "--json")
        assert code == 0, err
        value = json.loads(out)["summary"]
        assert value["text"]["rouge1"]["value"] == pytest.approx(2 / 3), "the gold is the reference"
        assert value["accuracy"]["value"] == 0
        for wrong, said in (
            (("--metric", "bleu", "--strategy", "vote"), "with --strategy direct; the strategy is vote"),
            (("--metric", "ter"), "expected bleu or rouge"),
            (("--reference-field", "x"), "--reference-field needs --metric"),
            (("--metric", "bleu", "--reference-field", "x"), "field 'x' is missing"),
        ):
            code, _, err = await run_cli(*common, *wrong)
            assert code == 2
            assert said in err
