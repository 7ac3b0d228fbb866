"""Panels as the dashboards want them: a few kinds, all alike. Knows no metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as dashboard_model
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
TAG = "redraft"
ALL = "$__all"
WIDTH = 24

Panel: TypeAlias = Builder[dashboard_model.Panel]
Rows: TypeAlias = Mapping[str, Sequence[Panel]]


def target(expression: str, legend: str, number: int, *, exemplars: bool = False) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number)).range()
    return query.exemplar(True) if exemplars else query


def tile(
    title: str,
    why: str,
    expression: str,
    *,
    unit: str,
    warn: float,
    bad: float,
    span: int = 4,
    height: int = 5,
    decimals: int | None = None,
) -> stat.Panel:
    """One number, green up to `warn`, red from `bad`; the other way round where `bad` is below `warn`."""
    colours = ["green", "yellow", "red"] if bad >= warn else ["red", "yellow", "green"]
    low, high = sorted((warn, bad))
    steps = [Threshold(value=None, color=colours[0]), Threshold(value=low, color=colours[1]), Threshold(value=high, color=colours[2])]
    panel = (
        stat.Panel()
        .title(title)
        .description(why)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(height)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .color_mode(look.BigValueColorMode.BACKGROUND)
        .graph_mode(look.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(target(expression, title, 0))
    )
    return panel if decimals is None else panel.decimals(decimals)


def lines(
    title: str,
    why: str,
    series: Mapping[str, str],
    *,
    unit: str,
    span: int = 12,
    most: float | None = None,
    stacked: bool = False,
    exemplars: bool = False,
) -> timeseries.Panel:
    """Curves over time: legend -> expression."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(why)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(8)
        .min(0)
        .line_width(1)
        .fill_opacity(20 if stacked else 5)
        .show_points(look.VisibilityMode.AUTO)
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .legend(
            common.VizLegendOptions().display_mode(look.LegendDisplayMode.LIST).placement(look.LegendPlacement.BOTTOM).show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(look.TooltipDisplayMode.MULTI).sort(look.SortOrder.DESCENDING))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(look.StackingMode.NORMAL))
    if most is not None:
        panel.max(most)
    for number, (legend, expression) in enumerate(series.items()):
        panel.with_target(target(expression, legend, number, exemplars=exemplars))
    return panel


def heat(title: str, why: str, expression: str, *, unit: str, span: int = 12) -> heatmap.Panel:
    """A histogram's buckets over time."""
    return (
        heatmap.Panel()
        .title(title)
        .description(why)
        .datasource(SOURCE)
        .span(span)
        .height(8)
        .calculate(False)
        .cell_gap(1)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .with_target(target(expression, "{{le}}", 0, exemplars=True).format(PromQueryFormat.HEATMAP))
    )


def page(uid: str, title: str, why: str, rows: Rows, *, refresh: str = "10s") -> dashboard.Dashboard:
    """A dashboard of titled rows, with the choice of servers and links to its siblings at the top."""
    built = (
        dashboard.Dashboard(f"Redraft / {title}")
        .uid(f"redraft-{uid}")
        .description(why)
        .tags([TAG])
        .refresh(refresh)
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(dashboard.DashboardLink("Redraft").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True).include_vars(True))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Server")
            .datasource(SOURCE)
            .query("label_values(redraft_loops_running, instance)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(VariableOption(selected=True, text="All", value=ALL))
        )
    )
    for name, panels in rows.items():
        built.with_row(dashboard.Row(name))
        for panel in panels:
            built.with_panel(panel)
    return built
