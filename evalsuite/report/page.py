"""Puts the page together: tables and charts as HTML made here, the drill-down as data for the page's own script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from evalsuite import aggregate, compare, stats, words
from evalsuite.report import charts, data
from evalsuite.report.charts import Line, Point
from evalsuite.report.data import RunData
from evalsuite.report.katex import Katex
from redraft import assets
from redraft.errors import BadRequest

UNSET = "Mathematics is shown as it was written: KaTeX was not there when this page was made."


def build(directories: Sequence[Path], katex: Katex | None = None) -> str:
    """The page about these runs; with `katex` it sets mathematics. Two runs are also compared."""
    katex = katex or Katex()
    runs = [data.load(directory) for directory in directories]
    if not runs:
        raise BadRequest("a report needs at least one run")
    tasks = {(run.config.task, run.config.task_fingerprint) for run in runs}
    if len(tasks) > 1:
        raise BadRequest("a report is about one task; these are of " + ", ".join(sorted(name for name, _ in tasks)))
    names = _names(runs)
    parts = {
        "title": escape(f"{runs[0].config.task}: evaluation report"),
        "style": _asset("page.css") + katex.style,
        "headline": _headline(runs, names),
        "comparison": _over_seeds(directories, runs) + (_comparison(directories) if len(directories) == 2 else ""),
        "charts": "".join(f'<figure class="card">{chart}</figure>' for chart in _charts(runs, names)),
        "special": "".join(_special(run, name) for run, name in zip(runs, names, strict=True)),
        "details": "".join(_details(run, name) for run, name in zip(runs, names, strict=True)),
        "data": _embedded({"runs": [{"name": n, "problems": data.problems(r)} for r, n in zip(runs, names, strict=True)]}),
        "katex": katex.script,
        "script": assets.MATHTEXT.read_text(encoding="utf-8") + _asset("page.js"),
        "note": "" if katex.script else f'<p class="soft">{UNSET}</p>',
    }
    page = _asset("page.html")
    for name, text in parts.items():
        head, mark, tail = page.partition(f"<!--{name}-->")
        assert mark, f"page.html has no place for {name}"
        page = head + text + tail
    return page


def _asset(name: str) -> str:
    return files("evalsuite.report").joinpath(name).read_text(encoding="utf-8")


def _embedded(value: object) -> str:
    """JSON that cannot end the element it stands in, whatever a model wrote."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _names(runs: Sequence[RunData]) -> list[str]:
    """Short names: model and strategy, with the seed where it alone sets the runs apart, numbered where that is not enough."""
    plain = [
        f"{run.config.model} {run.config.strategy}" + (f"@{run.config.sampling.n}" if (run.config.sampling.n or 1) > 1 else "")
        for run in runs
    ]
    if aggregate.same_but_for_seed([run.config for run in runs]):
        return [f"{name}, seed {run.config.sampling.seed}" for name, run in zip(plain, runs, strict=True)]
    return [name if plain.count(name) == 1 else f"{name} ({plain[: i + 1].count(name)})" for i, name in enumerate(plain)]


HEADLINE = (
    "run",
    "accuracy, 95 % interval",
    "problems",
    "right",
    "wrong",
    "no answer",
    "truncated",
    "failed",
    "tokens a problem",
    "tokens a second",
    "latency p50",
    "latency p95",
)


def _headline(runs: Sequence[RunData], names: Sequence[str]) -> str:
    rows = []
    for run, name in zip(runs, names, strict=True):
        value, counts = run.summary, run.summary["counts"]
        e2e = value["latency_s"]["e2e"]
        cells = [
            words.interval(value["accuracy"]),
            *(counts[what] for what in ("problems", "right", "wrong", "no_answer", "truncated", "infrastructure_failures")),
            f"{value['tokens']['completion_per_problem']:.0f}",
            f"{value['throughput']['completion_tokens_per_s']:.0f}",
            *("-" if e2e is None else words.duration(e2e[q]) for q in ("p50", "p95")),
        ]
        rows.append(f"<tr><th scope=row>{escape(name)}</th>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    heads = "".join(f"<th scope=col>{head}</th>" for head in HEADLINE)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _over_seeds(directories: Sequence[Path], runs: Sequence[RunData]) -> str:
    """What runs say together that differ in their seed alone."""
    if not aggregate.same_but_for_seed([run.config for run in runs]) or any(run.summary["accuracy"] is None for run in runs):
        return ""
    value = aggregate.aggregate([aggregate.load(directory) for directory in directories])
    spread = f"standard deviation over seeds {value['sd_over_seeds'] * 100:.1f} points"
    sentence = f"Over {len(runs)} seeds, on {value['problems']} problems: accuracy {words.interval(value['accuracy'])}, {spread}."
    return f'<p class="lead">{escape(sentence)}</p>'


def _comparison(directories: Sequence[Path]) -> str:
    value = compare.compare(*(compare.load(directory) for directory in directories))
    sentences = [f"Second run minus first, on {value['problems']} problems:"]
    if value["difference"] is not None:
        sentences.append(f"{_points(value['difference'])}.")
    for name, found in value["text"].items():
        sentences.append(f"{name} {words.metric(name, found['difference'])}.")
    test = value["mcnemar"]
    if test is not None:
        only = f"Only the first right: {test['only_a_right']}; only the second right: {test['only_b_right']}"
        sentences.append(f"{only}; McNemar exact p = {test['p']:.3g}.")
    equal = value["at_equal_tokens"]
    if equal is not None:
        which = {"a": "first", "b": "second"}[equal["cut"]]
        sentences.append(f"At equal tokens, with the {which} run cut to maj@{equal['maj_at']:g}: {_points(equal['difference'])}.")
    return '<p class="lead">' + " ".join(map(escape, sentences)) + "</p>"


def _points(interval: dict[str, Any]) -> str:
    value, low, high = (f"{interval[end] * 100:+.1f}" for end in ("value", "low", "high"))
    return f"{value} points, 95 % interval [{low}, {high}]"


def _charts(runs: Sequence[RunData], names: Sequence[str]) -> list[str]:
    drawn = [_tokens_chart(runs, names)]
    for run, name, colour in zip(runs, names, range(len(runs)), strict=True):
        for what, title, scale, unit in (
            ("latency_s", "end to end latency", 1, "seconds"),
            ("ttft_s", "time to first token", 1000, "milliseconds"),
        ):
            values = [timing[what] * scale for timing in run.timings if timing.get(what) is not None]
            drawn += _histogram(values, f"{name}: {title}", unit, colour)
        drawn += _histogram(
            [gap for timing in run.timings for gap in timing.get("gaps_ms") or ()], f"{name}: gap between tokens", "milliseconds", colour
        )
        if "critic" in run.summary:
            drawn.append(_calibration(run.summary["critic"], name, colour))
    return [chart for chart in drawn if chart]


def _histogram(values: Sequence[float], title: str, unit: str, colour: int) -> list[str]:
    if not values:
        return []
    marks = {f"p{q}": stats.percentile(values, q) for q in (50, 95)}
    return [charts.histogram(values, title=title, unit=unit, marks=marks, colour=colour)]


def _tokens_chart(runs: Sequence[RunData], names: Sequence[str]) -> str:
    """Accuracy against generated tokens: one point for a run, a curve of maj@k for one with several responses."""
    lines = []
    for run, name, colour in zip(runs, names, range(len(runs)), strict=True):
        each = run.summary["tokens"]["completion_per_problem"] / (run.config.sampling.n or 1)
        at_k = run.summary.get("at_k")
        if at_k:
            ks = sorted(int(key.removeprefix("maj@")) for key in at_k if key.startswith("maj@"))
            points = [_point(each * k, at_k[f"maj@{k}"], f"{name}: maj@{k}") for k in ks]
            lines.append(Line(f"{name}: majority of k", points, colour))
        elif run.summary["accuracy"] is not None:
            lines.append(Line(name, [_point(run.summary["tokens"]["completion_per_problem"], run.summary["accuracy"], name)], colour))
    if sum(len(line.points) for line in lines) < 2:
        return ""
    return charts.scatter(lines, title="Accuracy against generated tokens", x_label="generated tokens a problem", y_label="accuracy")


def _point(x: float, interval: dict[str, Any], name: str) -> Point:
    return Point(x, interval["value"], f"{name}: {words.interval(interval)}, {x:.0f} tokens", interval.get("low"), interval.get("high"))


def _calibration(critic: dict[str, Any], name: str, colour: int) -> str:
    points = [
        Point(b["p_mean"], b["correct"], f"{b['n']} responses: {b['correct']:.0%} correct at {b['p_mean']:.2f}") for b in critic["bins"]
    ]
    if not points:
        return ""
    line = Line(name, points, colour)
    return charts.scatter(
        [line], title=f"{name}: calibration", x_label="P(correct), as the critic says", y_label="share correct", diagonal=True
    )


def _special(run: RunData, name: str) -> str:
    """The numbers that only some strategies have: maj@k, a critic's rates, a loop's transitions."""
    found = words.special(run.summary)
    if not found:
        return ""
    rows = "".join(f"<tr><th scope=row>{escape(what)}</th><td>{escape(text)}</td></tr>" for what, text in found.items())
    return f'<section class="card"><h3>{escape(name)}</h3><table class=facts>{rows}</table></section>'


def _details(run: RunData, name: str) -> str:
    """What a reader needs to make the run again."""
    value = run.summary
    facts = {
        "sampling": value["config"]["sampling"],
        "critic": value["config"]["critic"],
        "task": value["task"],
        "versions": value["versions"],
        "hardware of the client": value["hardware"],
    }
    rows = "".join(
        f"<tr><th scope=row>{k}</th><td><code>{escape(json.dumps(v, ensure_ascii=False))}</code></td></tr>" for k, v in facts.items()
    )
    return f"<details><summary>{escape(name)}: configuration and versions</summary><table class=facts>{rows}</table></details>"
