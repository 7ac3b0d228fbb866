"""The playground as a person uses it, in a headless Chromium that can reach the loopback only: type, stream, stop, error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from redraft import assets
from redraft.errors import EngineFailed
from redraft.scripted import Reply
from tests import chromium
from tests.chromium import Browser, Page
from tests.conftest import Script, verdict
from tests.server.conftest import Serve, Served

pytestmark = [
    pytest.mark.skipif(chromium.PROGRAM is None, reason="chromium is not installed"),
    pytest.mark.skipif(assets.flaw() is not None, reason=f"the web libraries are not installed: {assets.HOW}"),
]
DRAFTS = [r"We get $2 + 2 = 4$, so \boxed{4}", r"It is \[ \frac{10}{2} \] so \boxed{5}", r"I get \boxed{6} here"]
HOSTILE = (
    r"<img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)> **<b onclick=alert(4)>x</b>**"
    r" $\href{javascript:alert(5)}{x}$ $\htmlData{x=y}{z}$ \(\text{<iframe src=//a.b>}\) $$\includegraphics{http://a.b/c.png}$$"
    r" $\style{background:url(http://a.b)}{q}$ \boxed{<img src=x onerror=alert(6)>}"
)
CORPUS = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<svg/onload=window.pwned=1>",
    "<svg><animate onbegin=window.pwned=1 attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=window.pwned=1&gt;'>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<object data='javascript:window.pwned=1'></object>",
    "<form action=javascript:window.pwned=1><input type=submit autofocus onfocus=window.pwned=1>",
    "<details open ontoggle=window.pwned=1>",
    "<a href='javascript:window.pwned=1'>a</a>",
    "<base href='http://127.0.0.2/'>",
    "<link rel=stylesheet href='http://127.0.0.2/x.css'>",
    "<meta http-equiv=refresh content='0;url=javascript:window.pwned=1'>",
    "<style>*{background:url('http://127.0.0.2/')}</style>",
    "<template shadowrootmode=open><img src=x onerror=window.pwned=1></template>",
    "&lt;img src=x onerror=window.pwned=1&gt;",
    '"><img src=x onerror=window.pwned=1>',
    "</textarea><img src=x onerror=window.pwned=1>",
    "${window.pwned=1} {{constructor.constructor('window.pwned=1')()}}",
    r"$\href{javascript:window.pwned=1}{x}$",
    r"$\url{javascript:window.pwned=1}$",
    r"$\includegraphics{http://127.0.0.2/x.png}$",
    r"$\htmlStyle{background:url(http://127.0.0.2/)}{x}$ $\htmlData{onclick=window.pwned=1}{x}$",
    r"$\text{<img src=x onerror=window.pwned=1>}$",
    r"$\unicode{x3cimg}$ $\def\a{<img src=x onerror=window.pwned=1>}\a$",
    "$<img src=x onerror=window.pwned=1>$",
    "\u202e<img src=x onerror=window.pwned=1>\u2066",
)
"""What pages are broken into with. Each sets `pwned` or asks another host, if it is taken for markup."""
CTRL = 2
unhurried = pytest.mark.e2e
"""Not among the quick tests, which are to stay quick; no vLLM is started for these either."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab that must not have complained of anything, nor asked any other host, when the test is over."""
    opened = Page(browser)
    yield opened
    complaints = list(opened.complaints)
    opened.close()
    assert complaints == []
    assert {urlsplit(url).hostname for url in opened.requests} <= {"127.0.0.1"}, "nothing may come from elsewhere"


CHOOSE = """(() => {{
  const field = document.querySelector('[name={name}]');
  field.value = '{value}';
  field.dispatchEvent(new Event('change', {{ bubbles: true }}));
}})()"""


def opened(page: Page, served: Served) -> None:
    page.go(f"{served.url}/")
    page.wait("document.querySelector('[name=model]')?.options.length > 1")


def ask(page: Page, problem: str) -> None:
    page.evaluate("document.querySelector('#problem').focus()")
    page.type(problem)
    page.press("Enter", modifiers=CTRL)


def spoken(page: Page, start: str) -> None:
    page.wait(f"document.querySelector('[role=status]').innerText.startsWith('{start}')")


def cards(page: Page, lane: str) -> list[str]:
    found: list[str] = page.evaluate(f"[...document.querySelectorAll('.lane.{lane} .step h3')].map(h => h.innerText)")
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + chromium.PATIENCE_S
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_a_problem_is_typed_and_its_steps_arrive_in_three_lanes(page: Page, serve: Serve) -> None:
    served = serve(Script(DRAFTS, critic=verdict(0.2), reviser=lambda request: [Reply(r"\boxed{4}")]))
    opened(page, served)
    page.evaluate(CHOOSE.format(name="critique", value="always"))
    ask(page, "What is $2+2$?")
    spoken(page, "Done. The answer is 4.")
    assert cards(page, "solve")[0].startswith("Draft 1")
    assert (len(cards(page, "solve")), len(cards(page, "critique")), len(cards(page, "revise"))) == (3, 3, 3)
    assert "incorrect" in cards(page, "critique")[0]
    assert "has no calibration: it moved no vote" in page.evaluate("document.querySelector('.about').innerText")
    assert page.evaluate("document.querySelectorAll('.step.chosen').length") == 1
    assert page.evaluate("document.querySelector('.lane.solve .katex-mathml annotation').textContent") == "2 + 2 = 4"
    assert page.evaluate("document.querySelectorAll('.votes li').length") == 3
    assert page.evaluate("document.querySelectorAll('.plot canvas').length") == 2
    requests = {request.removeprefix(served.url) for request in page.requests}
    assert {"/", "/solve", "/v1/models", "/web/lib/katex/katex.min.js"} <= requests
    assert all(request.startswith(("/", "data:")) for request in requests), "nothing may come from elsewhere"


@unhurried
def test_a_critic_that_nobody_has_measured_is_not_asked_and_the_page_says_so(page: Page, serve: Serve) -> None:
    opened(page, serve(Script(DRAFTS)))
    ask(page, "2+2?")
    spoken(page, "Done.")
    assert "has no calibration: it was not asked" in page.evaluate("document.querySelector('.about').innerText")
    assert cards(page, "critique") == []


def fill(page: Page, name: str, text: str) -> None:
    page.evaluate(f"document.querySelector('[name={name}]').focus()")
    page.type(text)


@unhurried
def test_what_was_picked_is_asked_for(page: Page, serve: Serve) -> None:
    served = serve(Script(DRAFTS, critic=verdict(0.2), reviser=lambda request: [Reply(r"\boxed{4}")]))
    opened(page, served)
    for name in ("model", "critic"):
        assert page.evaluate(f"[...document.querySelector('[name={name}]').options].map(o => o.value)") == ["", "scripted", "critic"]
    for name, value in (("model", "scripted"), ("critic", "critic"), ("critique", "always")):
        page.evaluate(CHOOSE.format(name=name, value=value))
    budgets = {"drafts": "2", "rounds": "1", "max_tokens": "321", "deadline_s": "9.5", "temperature": "0.25", "seed": "7"}
    for name, text in budgets.items():
        fill(page, name, text)
    page.wait("document.querySelector('#code').textContent.includes('9.5')")
    ask(page, "2+2?")
    spoken(page, "Done.")
    judging = {request.model for request in served.engine.requests if "Solution:" in request.messages[0]["content"]}
    assert judging == {"critic"}
    drafts = [request for request in served.engine.requests if request.messages[-1]["content"] == "2+2?"]
    assert sum(request.n for request in drafts) == 2
    assert {request.model for request in drafts} == {"scripted"}
    assert {request.temperature for request in drafts} <= {0, 0.25}
    assert max(request.max_tokens for request in drafts) <= 321
    sent = json.loads(page.evaluate("document.querySelector('#code').textContent").partition("-d '")[2].rstrip("'"))
    loop = {"critique": "always", **{name: float(value) for name, value in budgets.items()}}
    assert sent == {"problem": "2+2?", "model": "scripted", "critic": "critic", "loop": loop, "stream": True}
    assert page.posted(f"{served.url}/solve") == [sent]


@unhurried
def test_tokens_and_time_count_and_votes_move_while_it_runs(page: Page, serve: Serve) -> None:
    late = Reply("word " * 60 + r"\boxed{5}", delay_s=0.03)
    served = serve(Script([Reply(r"at once: \boxed{4}"), late, late]))
    opened(page, served)
    ask(page, "2+2?")
    page.wait("document.querySelectorAll('.votes li').length === 1")
    look = """(() => {
        const [tokens, time] = [...document.querySelectorAll('.facts dd')].map(d => Number(d.innerText.replace(/[^0-9.]/g, '')));
        return [tokens, time, document.querySelector('.summary .caption').innerText.toLowerCase()];
    })()"""
    assert page.evaluate("document.querySelector('.summary .answer .rich').innerText").strip() == "4"
    tokens, seconds, caption = page.evaluate(look)
    assert caption == "ahead so far"
    page.wait(f"(now => now[0] > {tokens} + 5 && now[1] > {seconds})({look})")
    assert page.evaluate(look)[2] == "ahead so far", "it still runs"
    spoken(page, "Done. The answer is 5.")
    assert page.evaluate("[...document.querySelectorAll('.votes .which')].map(v => v.innerText.trim())") == ["5", "4"]
    assert page.evaluate("[...document.querySelectorAll('.votes .weight')].map(v => Number(v.innerText))") == [2, 1]
    widths = "[...document.querySelectorAll('.votes .fill')].map(v => v.getBoundingClientRect().width)"
    page.wait(f"(([first, second]) => first > second && second > 0)({widths})")  # the bars glide there
    assert page.evaluate(look)[0] == 3 + 61 + 61, "what the server counted"


def test_stop_ends_the_work_in_the_engine_too(page: Page, serve: Serve) -> None:
    served = serve(Script([Reply("word " * 2000, delay_s=0.02)] * 3))
    opened(page, served)
    ask(page, "2+2?")
    page.wait("document.querySelector('.lane.solve .words')?.innerText.includes('word word')")
    assert served.engine.running > 0
    page.press("Escape")
    spoken(page, "Stopped.")
    assert eventually(lambda: served.engine.running == 0)
    assert page.evaluate("document.querySelector('.lane.solve .words').innerText.includes('word')"), "what came stays"
    assert not page.evaluate("document.querySelector('button.main').disabled")


@unhurried
def test_a_refused_field_is_named_marked_and_focused(page: Page, serve: Serve) -> None:
    opened(page, serve(Script(DRAFTS)))
    page.evaluate("document.querySelector('[name=drafts]').focus()")
    page.type("999")
    ask(page, "2+2?")
    page.wait("document.querySelector('[role=alert]')?.innerText.includes('this server allows 64')")
    page.wait("document.activeElement.name === 'drafts'")
    assert page.evaluate("document.querySelector('[name=drafts]').getAttribute('aria-invalid')") == "true"
    page.complaints.clear()  # the browser itself notes the 400


def test_a_failure_in_the_middle_of_the_stream_is_told(page: Page, serve: Serve) -> None:
    served = serve(Script([Reply("it begins", error=EngineFailed("the engine broke off"))] * 3))
    opened(page, served)
    ask(page, "2+2?")
    page.wait("document.querySelector('[role=alert]')?.innerText.includes('broke off')")
    assert page.evaluate("document.querySelector('.lane.solve .words').innerText") == "it begins"


def test_what_a_model_wrote_is_never_markup(page: Page, serve: Serve) -> None:
    opened(page, serve(Script([HOSTILE] * 3)))
    ask(page, HOSTILE)
    spoken(page, "Done.")
    markup = ", ".join(f"main {what}" for what in ("img", "script", "iframe", "a", "b", "[onload]", "[onclick]", "[onerror]"))
    assert page.evaluate(f"document.querySelectorAll('{markup}').length") == 0
    assert page.evaluate("document.querySelector('.lane.solve .words').innerText").startswith("<img src=x onerror=alert(1)><script>")
    assert page.evaluate("document.querySelectorAll('.lane.solve .katex').length") > 0


@unhurried
def test_no_text_from_anywhere_is_markup(page: Page, serve: Serve) -> None:
    """In drafts, critiques, revisions, answers, names of models and errors."""
    evil = "\n\n".join(CORPUS)
    told = Reply(rf"{evil} \boxed{{<img src=x onerror=window.pwned=1>}}")
    served = serve(Script([told, rf"{evil} \boxed{{5}}", r"\boxed{6}"], critic=verdict(0.2, evil), reviser=lambda request: [told]))
    served.engine._models.append(CORPUS[1])
    opened(page, served)
    page.evaluate(CHOOSE.format(name="critique", value="always"))
    ask(page, evil)
    spoken(page, "Done.")
    for lane in ("solve", "critique", "revise"):
        assert "<svg/onload=window.pwned=1>" in page.evaluate(f"document.querySelector('.lane.{lane}').innerText")
    unharmed(page)
    served = serve(Script([Reply("x", error=EngineFailed(evil))] * 3))
    opened(page, served)
    ask(page, "2+2?")
    page.wait("document.querySelector('[role=alert]')?.innerText.includes('window.pwned')")
    unharmed(page)


def unharmed(page: Page) -> None:
    elements = ("img", "script", "iframe", "object", "form form", "a", "base", "link", "meta", "template", "animate", "style")
    found = page.evaluate(f"[...document.querySelectorAll('{', '.join(f'main {name}' for name in elements)}')].map(e => e.outerHTML)")
    assert found == []
    handlers = "[...document.querySelectorAll('main *')].flatMap(e => e.getAttributeNames()).filter(name => name.startsWith('on'))"
    assert page.evaluate(handlers) == []
    assert page.evaluate("window.pwned ?? 0") == 0


@unhurried
def test_the_api_docs_are_shown_from_here(page: Page, serve: Serve) -> None:
    served = serve(Script(DRAFTS))
    page.go(f"{served.url}/docs")
    page.wait("[...document.querySelectorAll('.opblock-summary-path')].some(path => path.innerText.includes('solve'))")
    assert {f"{served.url}/docs", f"{served.url}/openapi.json"} <= set(page.requests)


@unhurried
def test_whatever_the_formula_setter_builds_is_sanitised_last(page: Page, serve: Serve) -> None:
    opened(page, serve(Script(DRAFTS)))
    evil = "const made = document.createElement('a'); made.href = 'javascript:alert(1)'; made.className = 'evil'; node.append(made)"
    page.evaluate(f"katex.render = (tex, node) => {{ {evil} }}")
    ask(page, "2+2?")
    spoken(page, "Done.")
    assert page.evaluate("document.querySelectorAll('main .evil, main a').length") == 0


@unhurried
def test_the_page_itself_lets_no_inline_script_and_no_markup_in(page: Page, serve: Serve) -> None:
    opened(page, serve(Script(DRAFTS)))
    page.evaluate("{ const s = document.createElement('script'); try { s.text = 'window.pwned = 1'; document.body.append(s); } catch { } }")
    page.evaluate("{ try { document.body.innerHTML += '<img src=x onerror=\"window.pwned = 1\">'; } catch { } }")
    page.evaluate("fetch('http://127.0.0.2:1/').catch(() => 0)")
    assert page.evaluate("window.pwned ?? 0") == 0
    assert any("connect-src" in complaint for complaint in page.complaints)
    page.complaints.clear()


@unhurried
def test_a_key_is_asked_for_sent_and_kept_in_memory_only(page: Page, serve: Serve) -> None:
    served = serve(Script(DRAFTS), api_key=["secret-key"])
    page.go(f"{served.url}/")
    page.wait("document.querySelector('[name=key]')?.placeholder === 'needed here'")
    page.evaluate("document.querySelector('[name=key]').focus()")
    page.type("secret-key")
    page.wait("document.querySelector('[name=model]').options.length > 1")
    ask(page, "2+2?")
    spoken(page, "Done.")
    kept = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie, location.href.includes('secret')]")
    assert kept == [0, 0, "", False]
    assert "secret-key" not in page.evaluate("document.querySelector('#code').innerText")
    page.complaints.clear()  # the browser itself notes the 401 of the first request


@unhurried
def test_an_answer_keeps_its_line_of_votes_and_the_lines_stay_even(page: Page, serve: Serve) -> None:
    opened(page, serve(Script(DRAFTS)))
    lines = page.evaluate("""
        import("/web/run.js").then(({ Run }) => {
          const run = new Run(() => 0);
          const vote = (...candidates) => run.hear({ type: "vote", candidates });
          vote({ answer: "4", members: [1], weight: 1 });
          vote({ answer: "4", members: [1], weight: 1 }, { answer: "5", members: [0], weight: 1 });
          vote({ answer: "4.0", members: [2, 1], weight: 2 });
          return run.ballots.lines.map((line) => [line.answer, ...line.weights]);
        })
    """)
    assert lines == [["4.0", 1, 1, 2], ["5", None, 1, 0]]


@unhurried
def test_one_direct_answer_is_shown_beside_the_loop(page: Page, serve: Serve) -> None:
    served = serve(Script(DRAFTS))
    opened(page, served)
    page.evaluate("document.querySelector('[name=compare]').click()")
    ask(page, "2+2?")
    spoken(page, "Done.")
    page.wait("document.querySelector('#direct .about').innerText.includes('greedy')")
    direct = next(request for request in served.engine.requests if request.n == 1 and not request.top_logprobs and request.temperature == 0)
    assert [m["content"] for m in direct.messages if m["role"] == "user"] == ["2+2?"]


@unhurried
def test_it_fits_a_phone_in_the_dark_too_and_the_keyboard_reaches_all(page: Page, serve: Serve) -> None:
    page.look(width=390, height=844)
    opened(page, serve(Script(DRAFTS)))
    ask(page, "What is $2+2$?")
    spoken(page, "Done.")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    lefts = page.evaluate("[...document.querySelectorAll('.lane')].map(lane => lane.getBoundingClientRect().left)")
    assert len(set(lefts)) == 1, "the lanes stand one below the other"
    brightness = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
    assert page.evaluate(brightness) > 200
    page.look(width=390, height=844, dark=True)
    assert page.evaluate(brightness) < 60
    unnamed = "[...document.querySelectorAll('input, select, textarea')].filter(e => !e.labels.length).length"
    assert page.evaluate(unnamed) == 0
    page.evaluate("document.querySelector('#problem').focus()")
    reached = []
    for _ in range(12):
        page.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText || document.activeElement.name || document.activeElement.tagName"))
    assert {"Solve", "compare", "Mixture", "Model and budgets"} <= set(reached)


@unhurried
def test_the_code_that_is_shown_does_the_same(page: Page, serve: Serve, tmp_path: Path) -> None:
    served = serve(Script(DRAFTS))
    opened(page, served)
    page.evaluate("document.querySelector('[name=rounds]').focus()")
    page.type("0")
    page.evaluate("document.querySelector('#problem').focus()")
    page.type('Tom\'s "sum"\nof $2$ and \\frac{4}{2}?')
    page.wait("document.querySelector('#code').textContent.includes('frac')")
    curl = page.evaluate("document.querySelector('#code').textContent")
    page.evaluate("[...document.querySelectorAll('.tabs button')].at(-1).click()")
    page.wait("document.querySelector('#code').textContent.includes('openai')")
    (tmp_path / "same.py").write_text(page.evaluate("document.querySelector('#code').textContent"), encoding="utf-8")
    told = subprocess.run(["/bin/sh", "-c", curl], capture_output=True, text=True, check=True).stdout
    assert '"answer":"4"' in told
    told = subprocess.run([sys.executable, str(tmp_path / "same.py")], capture_output=True, text=True, check=True).stdout
    assert told.endswith("answer: 4\n")
    asked = [[m["content"] for m in request.messages if m["role"] == "user"] for request in served.engine.requests]
    assert len(asked) >= 2
    assert all(said == ['Tom\'s "sum"\nof $2$ and \\frac{4}{2}?'] for said in asked)
