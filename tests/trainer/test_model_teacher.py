"""A model as teacher, over HTTP: what it is asked, how its reply is read, what is paid, and what happens when the endpoint fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.responses import Response
from rich.console import Console

from redraft.errors import EngineUnavailable, Unauthorized
from tests.openai_server import listening
from trainer import cli
from trainer.stages.consult import consult, spent_on
from trainer.teachers import asking
from trainer.teachers.asking import Form, Judged, Unusable
from trainer.teachers.endpoint import Endpoint, Patience
from trainer.teachers.model_teacher import Manner, ModelTeacher, Spent
from trainer.teachers.pace import Pace, retry_after
from trainer.teachers.replies import Replies, Reply

from .conftest import rows_of
from .scripted_teacher import Body, Teacher, completion, judge, refusal

Jsonl = Callable[..., Path]
Responses = Callable[[int], Path]
MANNER = Manner("m")
QUICK = Patience(retries=2, first_s=0.001)


@pytest.fixture
def responses(jsonl: Jsonl) -> Responses:
    """Sums, every third one wrong, and a response that was never given."""

    def write(count: int) -> Path:
        rows: list[dict[str, Any]] = [
            {
                "id": str(index),
                "problem": f"What is {index} + 9 - 1?",
                "gold": str(index + 8),
                "response": f"\\boxed{{{index + 8 + (index % 3 == 0)}}}",
                "label": "right" if index % 3 else "wrong",
            }
            for index in range(count)
        ]
        return jsonl(*rows, {"id": "gone", "error": "timeout"}, name="responses.jsonl")

    return write


async def ask_all(
    url: str,
    source: Path,
    output: Path,
    *,
    manner: Manner = MANNER,
    samples: int = 1,
    patience: Patience = QUICK,
    at_once: int = 4,
    key: str | None = None,
) -> ModelTeacher:
    console = Console(quiet=True)
    with Replies(output.parent / "replies") as replies:
        async with Endpoint(url, api_key=key, timeout_s=30.0, pace=Pace(), patience=patience) as endpoint:
            teacher = ModelTeacher(endpoint, manner, replies, Spent(1.0, 10.0))
            await consult(source, output, teacher, samples=samples, concurrency=at_once, console=console)
            return teacher


@pytest.mark.parametrize(
    ("form", "reply", "finish", "expected"),
    [
        (Form.PAPER, "Critique:\nFine.\n\nConclusion: right [END]", "stop", Judged("Fine.", "right")),
        (Form.PAPER, "<think>Conclusion: wrong</think>Fine.\n\n**Conclusion:** right [END] and more", "stop", Judged("Fine.", "right")),
        (Form.PAPER, "Bad: 2.\n## conclusion: incorrect", "stop", Judged("Bad: 2.", "wrong")),
        (Form.PAPER, "Fine, but", "length", "cut off"),
        (Form.PAPER, "I do not know.", "stop", "no line"),
        (Form.PAPER, "", "stop", "empty"),
        (Form.PAPER, "Conclusion: right", "stop", "without a judgement"),
        (Form.PAPER, "Conclusion: wrong\nNo.\nConclusion: right", "stop", "more than one"),
        (
            Form.STRUCTURED,
            "Step 1: a\n**First error:** 1\nConclusion: wrong",
            "stop",
            Judged("Step 1: a\n**First error:** 1", "wrong", "1"),
        ),
        (Form.STRUCTURED, "Step 1: a\nFirst error: none.\nConclusion: right", "stop", Judged("Step 1: a\nFirst error: none.", "right")),
        (Form.STRUCTURED, "Step 1: a\nFirst error: none\nConclusion: wrong", "stop", "contradicts"),
        (Form.STRUCTURED, "Step 1: a\nFirst error: step 1\nConclusion: right", "stop", "contradicts"),
        (Form.STRUCTURED, "It is fine.\nConclusion: right", "stop", "form asked for"),
    ],
)
def test_how_a_reply_is_read(form: Form, reply: str, finish: str, expected: Judged | str) -> None:
    found = asking.read(form, reply, finish)
    if isinstance(expected, Judged):
        assert found == expected
    else:
        assert isinstance(found, Unusable)
        assert expected in found.reason


async def test_critiques_stand_in_the_order_of_the_responses(responses: Responses, tmp_path: Path) -> None:
    teacher = Teacher(lambda body: completion("I cannot say.") if "What is 4 " in str(body) else judge(body))
    with listening(teacher.app()) as url:
        done = await ask_all(url, responses(6), tmp_path / "out.jsonl", samples=2, at_once=1, key="secret")
    rows = rows_of(tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == [*(f"{index}/{sample}" for index in range(6) for sample in range(2)), "gone/0"]
    assert [row["outcome"] for row in rows] == ["critique"] * 8 + ["unusable"] * 2 + ["critique"] * 2 + ["cannot_judge"]
    assert rows[0]["conclusion"] == "wrong"
    assert rows[0]["first_error"] == "1"
    assert rows[2]["critique"].startswith("Step 1: 1 + 9 - 1 should come to 9")
    assert teacher.bodies[0].keys() == {"model", "messages", "temperature", "max_tokens"}
    assert set(teacher.keys) == {"Bearer secret"}
    assert (done.spent.replies, done.spent.prompt_tokens) == (12, 1200)
    assert done.spent.cost == pytest.approx((1200 + 10 * done.spent.completion_tokens) / 1e6)
    assert spent_on(tmp_path / "out.jsonl", Spent(1.0, 10.0)) == done.spent


async def test_a_repeated_run_pays_nothing(responses: Responses, tmp_path: Path) -> None:
    teacher, source = Teacher(judge), responses(6)
    with listening(teacher.app()) as url:
        await ask_all(url, source, tmp_path / "a.jsonl")
        again = await ask_all(url, source, tmp_path / "b.jsonl")
        assert len(teacher.bodies) == again.cached == 6
        assert again.spent.replies == 0
        await ask_all(url, source, tmp_path / "c.jsonl", manner=Manner("m", seed=1))
        assert len(teacher.bodies) == 12
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


async def test_a_failure_is_recorded_and_retried_by_the_next_run_in_its_place(responses: Responses, tmp_path: Path) -> None:
    broken = True

    def script(body: Body) -> str | Response:
        return refusal(503, "out of memory") if broken and "What is 2 " in str(body) else judge(body)

    teacher, source, output = Teacher(script), responses(6), tmp_path / "out.jsonl"
    with listening(teacher.app()) as url:
        await ask_all(url, source, output)
        failed = rows_of(output)[2]
        assert (failed["outcome"], failed["reason"], failed["retry"]) == ("failed", "service_unavailable: out of memory", True)
        assert len(teacher.bodies) == 5 + 3
        broken = False
        await ask_all(url, source, output)
        assert len(teacher.bodies) == 5 + 3 + 1
        await ask_all(url, source, tmp_path / "whole.jsonl")
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "out.earlier.jsonl").exists()


async def test_a_refused_request_is_no_reason_to_ask_again(responses: Responses, tmp_path: Path) -> None:
    teacher = Teacher(lambda body: refusal(400, "too long") if "What is 2 " in str(body) else judge(body))
    with listening(teacher.app()) as url:
        await ask_all(url, responses(4), tmp_path / "out.jsonl")
        await ask_all(url, responses(4), tmp_path / "out.jsonl")
    assert "retry" not in rows_of(tmp_path / "out.jsonl")[2]
    assert len(teacher.bodies) == 4


async def test_a_wrong_key_ends_the_stage_at_once(responses: Responses, tmp_path: Path) -> None:
    teacher = Teacher(lambda body: refusal(401, "who are you?"))
    with listening(teacher.app()) as url, pytest.raises(Unauthorized, match="who are you"):
        await ask_all(url, responses(40), tmp_path / "out.jsonl", at_once=1)
    assert len(teacher.bodies) <= 4
    assert rows_of(tmp_path / "out.jsonl") == []


async def test_an_endpoint_that_is_gone_ends_the_stage(responses: Responses, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="10 requests in a row failed"):
        await ask_all("http://127.0.0.1:9", responses(40), tmp_path / "out.jsonl")
    assert [row["outcome"] for row in rows_of(tmp_path / "out.jsonl")] == ["failed"] * 10


async def test_an_answer_that_is_no_completion_is_a_failure(responses: Responses, tmp_path: Path) -> None:
    teacher = Teacher(lambda body: Response("<html>busy</html>", media_type="text/html"))
    with listening(teacher.app()) as url:
        await ask_all(url, responses(1), tmp_path / "out.jsonl")
    assert "no chat completion: '<html>busy" in rows_of(tmp_path / "out.jsonl")[0]["reason"]


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def test_requests_leave_at_even_distances() -> None:
    clock = Clock()
    pace = Pace(30, clock=clock, sleep=clock.sleep)
    left = []
    for _ in range(4):
        await pace.turn()
        left.append(clock.now)
    assert left == [100.0, 102.0, 104.0, 106.0]


async def test_nobody_leaves_before_the_time_that_the_endpoint_named(responses: Responses, tmp_path: Path) -> None:
    clock = Clock()
    refused = False

    def script(body: Body) -> str | Response:
        nonlocal refused
        if not refused:
            refused = True
            return refusal(429, "slow down", Retry_After="7")
        return judge(body)

    with listening(Teacher(script).app()) as url:
        pace = Pace(clock=clock, sleep=clock.sleep)
        async with Endpoint(url, api_key=None, timeout_s=30.0, pace=pace, patience=QUICK) as endpoint:
            await endpoint.complete(Manner("m").body("What is 1 + 9 - 1?", "\\boxed{9}"))
    assert endpoint.sent == 2
    assert clock.now >= 107.0


async def test_a_place_that_was_booked_before_a_hold_is_given_up() -> None:
    clock = Clock()

    async def held_meanwhile(seconds: float) -> None:
        await clock.sleep(seconds)
        if len(clock.slept) == 1:
            pace.hold(10)

    pace = Pace(60, clock=clock, sleep=held_meanwhile)
    await pace.turn()
    await pace.turn()
    assert clock.now == 111.0


@pytest.mark.parametrize(
    ("header", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0), ("soon", None), ("", None)]
)
def test_retry_after_is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after(header, datetime(2026, 1, 1, tzinfo=UTC)) == seconds


def test_the_first_reply_to_a_question_stays(tmp_path: Path) -> None:
    with Replies(tmp_path) as one, Replies(tmp_path) as other:
        one.put("k", Reply("a", "stop", 1, 2))
        other.put("k", Reply("b", "stop", None, None))
        assert other.get("k") == Reply("a", "stop", 1, 2)
        assert one.get("x") is None


def test_extra_fields_are_sent_and_taken_out() -> None:
    body = Manner("m", extra={"max_tokens": None, "max_completion_tokens": 9}, top_p=0.95).body("p", "r")
    assert body.keys() == {"model", "messages", "temperature", "top_p", "max_completion_tokens"}


def shell(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["trainer", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_from_the_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], responses: Responses, tmp_path: Path) -> None:
    broken, output, source = True, tmp_path / "out.jsonl", responses(5)
    teacher = Teacher(lambda body: refusal(500, "oops") if broken and "What is 1 " in str(body) else judge(body))
    monkeypatch.setenv("TEACHER_KEY", "secret")
    with listening(teacher.app()) as url:
        command = ("critique", source, output, "--teacher-url", f"{url}/v1", "--teacher-model", "big", "--api-key-env", "TEACHER_KEY")
        options = ("--form", "structured", "--rate", 60000, "--retries", 0, "--price-in", 2, "--price-out", 8, "--cache", tmp_path / "c")
        assert shell(monkeypatch, *command, *options) == 2
        assert "1 requests failed" in capsys.readouterr().err
        broken = False
        assert shell(monkeypatch, *command, *options) == 0
    assert set(teacher.keys) == {"Bearer secret"}
    assert capsys.readouterr().out.strip() == str(output)
    told = json.loads((tmp_path / "out.spent.json").read_text())
    assert (told["this_run"]["requests"], told["output"]["replies"]) == (1, 5)
    assert told["output"]["cost"] > told["this_run"]["cost"] > 0
    assert shell(monkeypatch, *command[:-1], "NO_SUCH_KEY") == 2
    assert "no variable NO_SUCH_KEY" in capsys.readouterr().err
