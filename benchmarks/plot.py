"""Lines and bands as one SVG file, for pages that need no script. Knows nothing of what it draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#3366cc", "#cc5500", "#2a8a4a", "#8a3fb0", "#b03060", "#667700")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 64, 16, 36, 52


@dataclass(frozen=True)
class Line:
    """A named line; `band` are the ends of each point's interval."""

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()
    marks_only: bool = False


def svg(title: str, x: str, y: str, lines: Sequence[Line], *, log_x: bool = False) -> str:
    """The figure. Axes hold all points and intervals; y begins at 0 where nothing is below."""
    xs = [point[0] for line in lines for point in line.points]
    ys = [point[1] for line in lines for point in line.points] + [value for line in lines for ends in line.band for value in ends]
    low_x, high_x = _wide(min(xs), max(xs), log=log_x)
    low_y, high_y = min(0.0, *ys), max(ys) * 1.05 or 1.0

    def at_x(value: float) -> float:
        share = math.log(value / low_x) / math.log(high_x / low_x) if log_x else (value - low_x) / (high_x - low_x)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def at_y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-weight="bold">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>',
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">{escape(y)}</text>',
    ]
    for tick in _ticks(low_y, high_y):
        parts.append(f'<path d="M{LEFT} {at_y(tick):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at_y(tick) + 4:.1f}" text-anchor="end">{_said(tick)}</text>')
    for tick in _decades(low_x, high_x) if log_x else _ticks(low_x, high_x):
        parts.append(f'<text x="{at_x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_said(tick)}</text>')
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        for (px, _), (low, high) in zip(line.points, line.band, strict=False):
            parts.append(f'<path d="M{at_x(px):.1f} {at_y(low):.1f}V{at_y(high):.1f}" stroke="{colour}" opacity=".5" stroke-width="2"/>')
        if not line.marks_only:
            path = "L".join(f"{at_x(px):.1f} {at_y(py):.1f}" for px, py in line.points)
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{at_x(px):.1f}" cy="{at_y(py):.1f}" r="3.5" fill="{colour}"/>' for px, py in line.points]
        parts.append(f'<rect x="{LEFT + 8}" y="{TOP + 4 + 16 * number}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 24}" y="{TOP + 13 + 16 * number}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _wide(low: float, high: float, *, log: bool) -> tuple[float, float]:
    if log:
        return low / 1.2, high * 1.2
    margin = (high - low or 1.0) * 0.05
    return low - margin, high + margin


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / most))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= most)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    return [10.0**k for k in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def _said(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"
