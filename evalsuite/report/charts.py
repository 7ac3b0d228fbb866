"""Small charts as SVG text, coloured by the page's own variables so that they suit light and dark. Knows numbers, no runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 14, 40
BINS = 24
SERIES = 6
"""Colours the page has for series; more runs than that share them."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale from numbers to pixels, with round ticks."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        step = _round_step((self.high - self.low) / wanted)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    label: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Points of one series; joined when there are several and `joined` says so."""

    name: str
    points: Sequence[Point]
    colour: int
    joined: bool = True


def histogram(values: Sequence[float], *, title: str, unit: str, marks: dict[str, float], colour: int = 0) -> str:
    """How often values fall into bins of equal width, with named values marked. Beyond the 99.5th percentile one last bin holds all."""
    ranked = sorted(values)
    top = ranked[min(len(ranked) - 1, math.ceil(len(ranked) * 0.995) - 1)]
    x = Axis(0.0, _round_up(top) or 1.0, LEFT, WIDTH - RIGHT)
    counts = [0] * BINS
    for value in ranked:
        counts[min(int(value / x.high * BINS), BINS - 1)] += 1
    y = Axis(0.0, _round_up(max(counts)), HEIGHT - BOTTOM, TOP)
    bars = [_bar(i, count, x, y, unit, colour) for i, count in enumerate(counts) if count]
    lines = [_mark(name, value, TOP + 10 + 13 * i, x) for i, (name, value) in enumerate(marks.items()) if value <= x.high]
    return _figure(title, _axes(x, y, f"{unit}", "count") + "".join(bars + lines))


def _bar(position: int, count: int, x: Axis, y: Axis, unit: str, colour: int) -> str:
    width = (x.end - x.start) / BINS
    low, high = x.high * position / BINS, x.high * (position + 1) / BINS
    until = f"to {_number(high)} {unit}" if position < BINS - 1 else f"{unit} and more"
    left, top, height = x.start + position * width + 1, y.at(count), max(y.start - y.at(count), 1)
    return (
        f'<rect class="fill{colour % SERIES}" x="{left:.1f}" y="{top:.1f}" width="{max(width - 2, 1):.1f}" height="{height:.1f}" rx="2">'
        f"<title>{escape(f'{_number(low)} {until}: {count}')}</title></rect>"
    )


def _mark(name: str, value: float, height: int, x: Axis) -> str:
    """A named upright line; its words stand on the side where there is room."""
    at = x.at(value)
    where, anchor = (at + 3, "start") if value < 0.7 * x.high else (at - 3, "end")
    shown = _number(float(f"{value:.3g}"))
    return (
        f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="note" x="{where:.1f}" y="{height}" text-anchor="{anchor}">{escape(name)} {shown}</text>'
    )


def scatter(lines: Sequence[Line], *, title: str, x_label: str, y_label: str, diagonal: bool = False) -> str:
    """Series of points with intervals; y is a share from 0 to 1."""
    points = [p for line in lines for p in line.points]
    x = Axis(0.0, 1.0 if diagonal else _round_up(max(p.x for p in points)) or 1.0, LEFT, WIDTH - RIGHT)
    tallest = max(p.high if p.high is not None else p.y for p in points)
    y = Axis(0.0, 1.0 if diagonal else min(1.0, _round_up(tallest)) or 1.0, HEIGHT - BOTTOM, TOP)
    drawn = [f'<line class="mark" x1="{x.start}" y1="{y.start}" x2="{x.end}" y2="{y.end}"/>'] if diagonal else []
    for line in lines:
        drawn += _series(line, x, y)
    return _figure(title, _axes(x, y, x_label, y_label, percent=True) + "".join(drawn)) + _legend(lines)


def _series(line: Line, x: Axis, y: Axis) -> list[str]:
    colour = line.colour % SERIES
    drawn = []
    if line.joined and len(line.points) > 1:
        path = " ".join(f"{x.at(p.x):.1f},{y.at(p.y):.1f}" for p in line.points)
        drawn.append(f'<polyline class="line{colour}" points="{path}"/>')
    for p in line.points:
        left, middle = f"{x.at(p.x):.1f}", f"{y.at(p.y):.1f}"
        if p.low is not None and p.high is not None:
            ends = f'y1="{y.at(p.low):.1f}" y2="{y.at(p.high):.1f}"'
            drawn.append(f'<line class="line{colour} thin" x1="{left}" x2="{left}" {ends}/>')
        drawn.append(f'<circle class="fill{colour}" cx="{left}" cy="{middle}" r="4.5"><title>{escape(p.label)}</title></circle>')
    return drawn


def _legend(lines: Sequence[Line]) -> str:
    items = "".join(f'<span><i class="swatch fill{line.colour % SERIES}"></i>{escape(line.name)}</span>' for line in lines)
    return f'<div class="legend">{items}</div>'


def _axes(x: Axis, y: Axis, x_label: str, y_label: str, *, percent: bool = False) -> str:
    parts = []
    for tick in y.ticks(5):
        text = f"{tick:.0%}" if percent else _number(tick)
        parts.append(f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{y.at(tick):.1f}" y2="{y.at(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{x.start - 6}" y="{y.at(tick) + 4:.1f}" text-anchor="end">{text}</text>')
    for tick in x.ticks(6):
        parts.append(f'<text class="tick" x="{x.at(tick):.1f}" y="{y.start + 15}" text-anchor="middle">{_number(tick)}</text>')
    parts.append(f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>')
    parts.append(f'<text class="label" x="{(x.start + x.end) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    middle = (y.start + y.end) / 2
    parts.append(
        f'<text class="label" x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{escape(y_label)}</text>'
    )
    return "".join(parts)


def _figure(title: str, body: str) -> str:
    name = escape(title)
    return f'<h3>{name}</h3><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{body}</svg>'


def _round_step(value: float) -> float:
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def _round_up(value: float) -> float:
    """The next round number at or above `value`."""
    step = _round_step(value / 5)
    return math.ceil(value / step - 1e-9) * step


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
