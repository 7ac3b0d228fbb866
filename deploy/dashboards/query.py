"""PromQL in the few forms that the dashboards use. Knows no Grafana but its two variables."""

from __future__ import annotations

from collections.abc import Sequence

HERE = 'instance=~"$instance"'
"""The servers chosen at the top of a dashboard."""
WINDOW = "$__rate_interval"


def chosen(series: str, *matchers: str) -> str:
    """A series of the chosen servers, with further matchers such as `outcome="ok"`."""
    return f"{series}{{{', '.join([HERE, *matchers])}}}"


def total(expression: str, by: Sequence[str] = ()) -> str:
    """The sum over everything but the labels in `by`."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def rate(counter: str, *matchers: str, by: Sequence[str] = (), window: str = WINDOW) -> str:
    """A counter's growth a second, summed."""
    return total(f"rate({chosen(counter, *matchers)}[{window}])", by)


def quantile(q: float, histogram: str, *matchers: str, by: Sequence[str] = ()) -> str:
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', *matchers, by=['le', *by])})"


def mean(histogram: str, *matchers: str, by: Sequence[str] = ()) -> str:
    return f"{rate(f'{histogram}_sum', *matchers, by=by)} / {rate(f'{histogram}_count', *matchers, by=by)}"


def part(counter: str, *matchers: str, by: Sequence[str]) -> str:
    """The share of a counter's growth that the matchers leave; 0 where they leave nothing."""
    return f"({rate(counter, *matchers, by=by)} or 0 * {rate(counter, by=by)}) / {rate(counter, by=by)}"


def intact(failed: str, whole: str) -> str:
    """One minus a ratio; 1 while nothing happens, so that a quiet server shows no error."""
    return f"1 - ({failed} or vector(0)) / ({whole} > 0 or vector(1))"


def buckets(histogram: str, *matchers: str) -> str:
    """A histogram's buckets for a heat map."""
    return rate(f"{histogram}_bucket", *matchers, by=["le"])
