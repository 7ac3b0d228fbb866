"""The page: complete, self-contained, and safe whatever a model wrote. Looked at through its own data and an HTML parser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from evalsuite import report, store
from evalsuite.commands.measure import write_summary
from evalsuite.config import RunConfig, Sampling, Strategy
from evalsuite.report.charts import Axis, Line, Point, histogram, scatter
from redraft import assets
from redraft.errors import BadRequest
from tests import chromium
from tests.evalsuite.scripted_server import Body, chat, failure, problem_of, run_cli
from tests.evalsuite.test_runner import config, draft, run, solved, task

BRIGHTNESS = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
HOSTILE = "</script><script>alert(1)</script><!--data--><img src=http://x/y onerror=alert(2)> so 1"


class Page(HTMLParser):
    """Tags with their attributes, and the text in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self._script: str | None = None
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._script = (dict(attrs).get("id") or "code") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        else:
            self.words += data

    @property
    def runs(self) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = json.loads(self.scripts["data"])["runs"]
        return runs


async def made(directory: Path, made_config: RunConfig, script: Any, **golds: str) -> Path:
    value, _ = await run(directory, made_config, task(**golds), script)
    write_summary(directory, value)
    return directory


async def direct(directory: Path, right: set[str], **sampling: Any) -> Path:
    async def script(body: Body, time: int) -> web.StreamResponse:
        if problem_of(body) == "lost":
            return failure(503, "gone")
        return chat([HOSTILE if problem_of(body) in right else "so 2"])

    return await made(directory, config(**sampling), script, a="1", b="1", c="1", lost="1")


async def test_the_page_is_one_file_that_loads_nothing_and_runs_no_text_of_a_model(tmp_path: Path) -> None:
    page = Page(report.build([await direct(tmp_path / "a", {"a"})]))
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert {tag for tag, _ in page.tags}.isdisjoint({"img", "link", "iframe"})
    assert not [attrs for _, attrs in page.tags if "src" in attrs or "href" in attrs]
    policy = next(attrs["content"] for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    assert policy is not None
    assert "default-src 'none'" in policy
    kept = {entry["id"]: entry for entry in page.runs[0]["problems"]}
    assert kept["t/0"]["steps"][0]["text"] == HOSTILE
    assert "innerHTML" not in page.scripts["code"]
    assert "alert" not in page.words
    assert "<" not in page.scripts["data"]


async def test_katex_is_inlined_with_its_fonts_when_it_is_given(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    (dist / "fonts").mkdir(parents=True)
    (dist / "fonts" / "K.woff2").write_bytes(b"font")
    (dist / "katex.min.css").write_text(
        '@font-face{src:url(fonts/K.woff2) format("woff2"),url(fonts/K.ttf) format("truetype")}.k{color:red}'
    )
    run_directory = await direct(tmp_path / "a", {"a"})
    with pytest.raises(BadRequest, match=r"katex\.min\.js: no such file"):
        report.inlined(dist)
    (dist / "katex.min.js").write_text("var katex = '</script>';")
    text = report.build([run_directory], report.inlined(dist))
    page = Page(text)
    assert 'src:url(data:font/woff2;base64,Zm9udA==) format("woff2")}.k{color:red}' in text
    assert "fonts/" not in text
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert "var katex = '<\\/script>';" in page.scripts["code"]
    assert "KaTeX was not there" not in page.words


async def test_without_katex_page_and_command_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = await direct(tmp_path / "a", {"a"})
    assert report.installed(tmp_path / "nothing") is None
    assert "KaTeX was not there" in Page(report.build([directory], None)).words
    monkeypatch.setattr(report, "installed", lambda: None)
    code, out, _ = await run_cli("report", str(directory))
    assert code == 0
    assert assets.HOW in out


@pytest.mark.skipif(chromium.PROGRAM is None, reason="chromium is not installed")
@pytest.mark.skipif(assets.flaw() is not None, reason=f"the web libraries are not installed: {assets.HOW}")
async def test_in_a_browser_it_sets_mathematics_and_asks_nobody_in_light_and_dark(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        return chat([HOSTILE + r" \(x^2\) costs $5 or $6, so \boxed{1}"])

    directory = await made(tmp_path / "a", config(), script, a="1", b="2")
    page_file = tmp_path / "page.html"
    page_file.write_text(report.build([directory], report.installed()), encoding="utf-8")
    with chromium.browser(tmp_path / "profile") as browser:
        page = chromium.Page(browser)
        page.look(dark=True)
        page.go(page_file.as_uri())
        dark = page.evaluate(BRIGHTNESS)
        page.look(dark=False)
        page.go(page_file.as_uri())
        light = page.evaluate(BRIGHTNESS)
        page.wait("document.querySelectorAll('.row').length === 2")
        page.evaluate("document.querySelector('.row').open = true")
        page.wait("document.querySelectorAll('.row .words .katex').length === 2")
        shown = page.evaluate("document.querySelector('.row .words').innerText")
        found = page.evaluate("document.querySelectorAll('main img').length")
    assert "<img src=http://x/y onerror=alert(2)>" in shown
    assert "costs $5 or $6, so" in shown
    assert dark < 60
    assert light > 200
    assert found == 0
    assert page.complaints == []
    assert page.requests == [page_file.as_uri()] * 2


async def test_every_problem_is_there_with_answer_outcome_and_reason_and_failures_too(tmp_path: Path) -> None:
    page = Page(report.build([await direct(tmp_path / "a", {"a"})]))
    kept = {entry["id"]: entry for entry in page.runs[0]["problems"]}
    assert {i: entry["outcome"] for i, entry in kept.items()} == {"t/0": "right", "t/1": "wrong", "t/2": "wrong", "t/3": "failed"}
    assert (kept["t/1"]["answer"], kept["t/1"]["gold"], kept["t/1"]["reason"]) == ("2", "1", "text")
    assert "gone" in kept["t/3"]["message"]
    assert "33.3% [6.1, 79.2]" in page.words


async def test_two_runs_are_compared_and_runs_of_different_tasks_are_not(tmp_path: Path) -> None:
    first, second = await direct(tmp_path / "a", {"a"}), await direct(tmp_path / "b", {"b", "c"}, seed=1)
    page = Page(report.build([first, second]))
    assert "+33.3 points" in page.words
    assert "Only the first right: 1; only the second right: 2; McNemar exact p = 1." in page.words
    assert [r["name"] for r in page.runs] == ["tiny direct (1)", "tiny direct (2)"]
    other = tmp_path / "c"
    await direct(other, set(), seed=2)
    told = json.loads((other / store.CONFIG).read_text())
    (other / store.CONFIG).write_text(json.dumps({**told, "task": "u"}))
    with pytest.raises(BadRequest, match="a report is about one task; these are of t, u"):
        report.build([first, other])


async def test_a_loops_transcript_is_shown_step_by_step(tmp_path: Path) -> None:
    async def script(body: Body, time: int) -> web.StreamResponse:
        critique = {"stage": "critique", "draft": 0, "content": "No.", "verdict": "incorrect", "p_correct": 0.25, "reason": None}
        return solved("1", draft(0, "2"), critique, draft(1, "1", "revise", 0))

    loop = RunConfig("t", "print", "tiny", Strategy.LOOP, Sampling(1, 64, None, None))
    page = Page(report.build([await made(tmp_path, loop, script, a="1")]))
    steps = page.runs[0]["problems"][0]["steps"]
    assert [(s["title"], s.get("outcome"), s.get("verdict")) for s in steps] == [
        ("response 1", "wrong", None),
        ("critique of response 1", None, "incorrect, P(correct) 0.25"),
        ("response 2, a revision of response 1", "right", None),
    ]
    assert "1 wrong->right" in page.words


async def test_the_command_writes_the_page_and_the_table(tmp_path: Path) -> None:
    directory = await direct(tmp_path / "a", {"a"})
    code, out, err = await run_cli("report", str(directory), "--out", str(tmp_path / "page.html"))
    assert code == 0, err
    assert "page.html" in out.replace("\n", "")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    code, out, _ = await run_cli("table", str(directory), str(directory), "--json")
    assert [value["counts"]["right"] for value in json.loads(out)] == [1, 1]
    code, _, err = await run_cli("report", str(tmp_path))
    assert code == 2
    assert "run.json: no such file" in err


def test_a_histogram_counts_every_value_once_and_an_outlier_does_not_flatten_it() -> None:
    drawn = histogram([0.1] * 1000 + [0.9] * 500 + [1000.0], title="t", unit="s", marks={"p50": 0.1})
    bars = re.findall(r"<title>([^<]*): (\d+)</title>", drawn)
    assert [int(count) for _, count in bars] == [1000, 500, 1]
    assert bars[-1][0] == "0.9583 s and more"


@pytest.mark.parametrize(("high", "expected"), [(1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (250, [0, 50, 100, 150, 200, 250]), (7, [0, 2, 4, 6])])
def test_ticks_are_round(high: float, expected: list[float]) -> None:
    assert Axis(0, high, 0, 100).ticks() == pytest.approx(expected)


def test_points_lie_where_the_axes_say() -> None:
    page = Page(scatter([Line("l", [Point(50, 0.5, "half", 0.4, 0.6), Point(100, 1.0, "all")], 0)], title="t", x_label="x", y_label="y"))
    circles = [attrs for tag, attrs in page.tags if tag == "circle"]
    middle, end = (float(str(c["cx"])) for c in circles)
    assert middle - 48 == pytest.approx((end - 48) / 2)
    assert float(str(circles[0]["cy"])) > float(str(circles[1]["cy"])), "up is more"
