"""The few kinds of panel that the dashboards are made of, all of one look."""

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from otel_dns import semconv

DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHT: Final = 8

SEGMENT_COLOURS: Final[Mapping[str, str]] = {
    semconv.SEGMENT_STUB: "#c0d8ff",
    semconv.SEGMENT_NETWORK: "#73bf69",
    semconv.SEGMENT_STUB_NETWORK: "#8ab8ff",
    semconv.SEGMENT_SERVER: "#5794f2",
    semconv.SEGMENT_UPSTREAM: "#ff9830",
    semconv.SEGMENT_WAITING: "#f2495c",
    semconv.SEGMENT_UNATTRIBUTED: "#9fa7b3",
}
"""Blue: ours; orange: somebody else's; red: nobody answered; grey: not known."""


def query(expression: str, legend: str = "", *, exemplar: bool = False) -> prometheus.Dataquery:
    """One query over the dashboard's time range."""
    built = prometheus.Dataquery().expr(expression).range()
    if legend:
        built = built.legend_format(legend)
    return built.exemplar(exemplar) if exemplar else built


def _instant(expression: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).instant().format(PromQueryFormat.TABLE)


def lines(
    title: str,
    about: str,
    *queries: prometheus.Dataquery,
    unit: str = "s",
    width: int = 12,
    stacked: bool = False,
) -> timeseries.Panel:
    """Lines over time; stacked ones fill the space below them."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .unit(unit)
        .height(_HEIGHT)
        .span(width)
        .min(0)
        .line_width(1)
        .fill_opacity(60 if stacked else 6)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    for each in queries:
        panel = panel.with_target(each)
    return panel


def segments(title: str, about: str, one: prometheus.Dataquery, *, width: int = 12) -> object:
    """Stacked lines by segment, each segment in its colour."""
    panel = lines(title, about, one, stacked=True, width=width)
    for segment, colour in SEGMENT_COLOURS.items():
        fixed = models.DynamicConfigValue(
            id_val="color", value={"mode": "fixed", "fixedColor": colour}
        )
        panel = panel.override_by_name(segment, [fixed])
    return panel


def number(
    title: str,
    about: str,
    expression: str,
    *,
    unit: str = "short",
    steps: Mapping[float | None, str] | None = None,
    width: int = 4,
) -> stat.Panel:
    """One number, coloured by steps from a value on (None: from the start)."""
    thresholds = [
        models.Threshold(value=value, color=colour)
        for value, colour in (steps or {None: "text"}).items()
    ]
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .unit(unit)
        .height(4)
        .span(width)
        .no_value("no data")
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .thresholds(
            dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(thresholds)
        )
        .with_target(query(expression))
    )


def bars(
    title: str, about: str, expression: str, legend: str, *, unit: str = "s", width: int = 12
) -> bargauge.Panel:
    """Bars of the latest values, the largest first."""
    latest = prometheus.Dataquery().expr(f"sort_desc({expression})").instant()
    return (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .unit(unit)
        .height(_HEIGHT)
        .span(width)
        .min(0)
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .with_target(latest.legend_format(legend))
    )


def heat(title: str, about: str, histogram_rate: str, *, width: int = 12) -> heatmap.Panel:
    """How measurements spread over a histogram's buckets, over time."""
    buckets = (
        prometheus.Dataquery()
        .expr(histogram_rate)
        .range()
        .legend_format("{{le}}")
        .format(PromQueryFormat.HEATMAP)
    )
    return (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .unit("s")
        .height(_HEIGHT)
        .span(width)
        .calculate(False)
        .color(_blues())
        .with_target(buckets)
    )


def _blues() -> heatmap.HeatmapColorOptions:
    return heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64)


def listing(
    title: str, about: str, expression: str, *, unit: str = "short", width: int = 12
) -> table.Panel:
    """A table of the latest values."""
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .unit(unit)
        .height(_HEIGHT)
        .span(width)
        .with_target(_instant(f"sort_desc({expression})"))
    )
