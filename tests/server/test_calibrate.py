"""`redraft calibrate` against a running server, as a user types it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from redraft import calibration
from redraft.errors import BadRequest
from redraft.scripted import Reply
from server.commands import calibrate
from server.commands.labelled import Row, contested, read
from tests.conftest import Script, verdict
from tests.server.conftest import Serve
from tests.server.test_cli import redraft

ROWS = [
    {"problem": f"{k}+1?", "response": f"{k} + 1 = {k + 1 + wrong}, so \\boxed{{{k + 1 + wrong}}}", "gold": str(k + 1)}
    for k in range(6)
    for wrong in (0, 1)
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sees_errors(request: object) -> object:
    """Believes everything, and what is wrong a little less: each wrong sum here is off by one."""
    text = request.messages[0]["content"]  # type: ignore[attr-defined]
    first, said = text.split("Solution:\n")[1].split(" + 1 = ")
    return verdict(0.9 if int(said.split(",")[0]) == int(first) + 1 else 0.7)(request)  # type: ignore[arg-type]


def test_a_critic_is_measured_and_its_report_is_served_with_the_adapter(serve: Serve, tmp_path: Path) -> None:
    served = serve(Script([], critic=sees_errors))  # type: ignore[arg-type]
    data, out, adapter = write(tmp_path / "rows.jsonl", list(ROWS)), tmp_path / "out", tmp_path / "adapter"
    adapter.mkdir()
    line = ("calibrate", "--data", str(data), "--critic", "critic", "--server", served.url, "--out", str(out), "--adapter", str(adapter))
    done = redraft(*line)
    assert done.returncode == 0, done.stderr
    assert "balanced accuracy 1.000" in done.stdout
    found = json.loads((adapter / calibration.FILE).read_text())
    assert found == json.loads((out / calibration.FILE).read_text())
    assert (found["critic"], found["calibration"]["threshold"]) == ("critic", pytest.approx(0.8))
    asked = len(served.engine.requests)
    with (out / calibrate.JUDGED).open("a") as log:
        log.write('{"key": "cut o')
    assert redraft(*line).returncode == 0
    assert len(served.engine.requests) == asked, "what was judged is not asked for again"


def unsure(request: object) -> object:
    """Sees every error when it may say much; one short critique guesses, each for itself."""
    if request.max_tokens > 20 or request.top_logprobs:  # type: ignore[attr-defined]
        return sees_errors(request)
    return [Reply("a word")] * request.n  # type: ignore[attr-defined]


def test_the_form_that_pays_is_measured_and_kept(serve: Serve, tmp_path: Path) -> None:
    """Three short critiques read the same here as one long: the long one, with fewer calls and tokens, is kept."""
    served = serve(Script([], critic=unsure))  # type: ignore[arg-type]
    data, out = write(tmp_path / "rows.jsonl", list(ROWS)), tmp_path / "out"
    forms = ("--form", "3x12", "--form", "1x30")
    done = redraft("calibrate", "--data", str(data), "--critic", "critic", "--server", served.url, "--out", str(out), *forms)
    assert done.returncode == 0, done.stderr
    found = json.loads((out / calibration.FILE).read_text())
    assert [(form["critiques"], form["max_tokens"], form["chosen"]) for form in found["forms"]] == [(3, 12, False), (1, 30, True)]
    short, long = found["forms"]
    assert short["tokens"] > long["tokens"] > 0
    assert (short["balanced_accuracy"], long["balanced_accuracy"]) == (1.0, 1.0)
    kept = calibration.from_json(found)
    assert (kept.critiques, kept.critique_tokens) == (1, 30)
    assert {request.n for request in served.engine.requests} == {1, 3}
    assert "kept" in done.stdout


def row(problem: str, answer: str, *, correct: bool) -> Row:
    return Row(problem, f"I get \\boxed{{{answer}}}", correct)


def test_contested_is_what_a_loop_would_ask_about() -> None:
    """One response of each answer, the commonest first, of the problems whose responses disagree; no more than a round's."""
    agreed = [row("a", "1", correct=True), row("a", "1.0", correct=True)]
    silent = [row("b", "2", correct=True), Row("b", "I do not know.", correct=False)]
    split = [row("c", "3", correct=False), row("c", "4", correct=True), row("c", "8/2", correct=True)]
    wide = [row("d", str(k), correct=k == 0) for k in range(6)]
    cut = [row("e", "5", correct=True), replace(row("e", "6", correct=False), truncated=True)]
    assert contested([*agreed, *silent, *split, *wide, *cut]) == [replace(split[1], votes=2), split[0], *wide[:4]]
    assert contested([*agreed, *silent, *cut]) == []


def test_a_truncated_response_is_known_by_its_finish_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{**ROWS[0], "finish_reason": reason} for reason in ("stop", "length")] + [dict(ROWS[0])])
    assert [found.truncated for found in read(path)] == [False, True, False]


def test_only_contested_responses_are_judged_unless_all_are_asked_for(serve: Serve, tmp_path: Path) -> None:
    served = serve(Script([], critic=sees_errors))  # type: ignore[arg-type]
    lonely = [
        {**ROWS[0], "problem": f"{k}+1?", "response": f"{k} + 1 = {k + 1}, so \\boxed{{{k + 1}}}", "gold": str(k + 1)}
        for k in range(20, 30)
    ]
    data, out = write(tmp_path / "rows.jsonl", [*ROWS, *lonely]), tmp_path / "out"
    line = ("calibrate", "--data", str(data), "--critic", "critic", "--server", served.url, "--out", str(out))
    done = redraft(*line)
    assert done.returncode == 0, done.stderr
    assert "the 12 answers of the problems whose responses disagree, of 22 responses" in done.stdout
    found = json.loads((out / calibration.FILE).read_text())
    assert (found["judged"], found["responses"], found["calibration"]["n"]) == ("contested", 22, 12)
    done = redraft(*line, "--every")
    assert done.returncode == 0, done.stderr
    found = json.loads((out / calibration.FILE).read_text())
    assert (found["judged"], found["calibration"]["n"]) == ("all", 22)


def test_a_critic_that_says_what_most_drafts_say_is_not_asked(serve: Serve, tmp_path: Path) -> None:
    """It calls right what two of three responses say, which is right as a rule: over all answers it is good, beside the vote it is none."""

    def echo(request: object) -> object:
        return verdict(0.9 if "both" in request.messages[0]["content"] else 0.1)(request)  # type: ignore[attr-defined, arg-type]

    served = serve(Script([], critic=echo))  # type: ignore[arg-type]
    rows = []
    for k in range(40):
        common, lone = (k, k + 1) if k % 4 else (k + 1, k)
        said = [(f"both say \\boxed{{{common}}}", common)] * 2 + [(f"one says \\boxed{{{lone}}}", lone)]
        rows += [{"problem": f"what is {k}?", "response": text, "correct": answer == k} for text, answer in said]
    data, out = write(tmp_path / "rows.jsonl", rows), tmp_path / "out"
    done = redraft("calibrate", "--data", str(data), "--server", served.url, "--out", str(out))
    assert done.returncode == 0, done.stderr
    found = calibration.from_json(json.loads((out / calibration.FILE).read_text()))
    assert (found.tpr, found.fpr, found.matched_tpr, found.matched_fpr) == (0.75, 0.25, 0.5, 0.5)
    assert "it does not pay" in done.stdout


@pytest.mark.parametrize("form", ["3", "0x9", "17x9", "3x1", "axb", "-1x9"])
def test_what_is_no_form_is_refused(tmp_path: Path, form: str) -> None:
    with pytest.raises(BadRequest, match=f"--form {form}: expected NxT"):
        calibrate._forms([form], None)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"problem": "x"}, "rows.jsonl:2: field `response`"),
        ({"problem": "x", "response": "y"}, "one of the fields `correct`, `label` and `gold`"),
        ({"problem": "x", "response": "y", "correct": "yes"}, "field `correct`: expected true or false"),
        ({"problem": "x", "response": "y", "label": "good"}, "field `label`: expected right or wrong"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, object], says: str) -> None:
    path = write(tmp_path / "rows.jsonl", [{"problem": "p", "response": "r", "label": "right"}, row])
    with pytest.raises(BadRequest, match=says):
        list(read(path))


def test_rows_of_one_kind_cannot_measure(serve: Serve, tmp_path: Path) -> None:
    served = serve(Script([], critic=verdict(0.9)))
    data = write(tmp_path / "rows.jsonl", [{"problem": "p", "response": f"r{k}", "correct": True} for k in range(3)])
    done = redraft("calibrate", "--data", str(data), "--server", served.url, "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "at least two right and two wrong responses" in done.stderr
