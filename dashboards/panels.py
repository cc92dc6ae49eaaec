"""Boards as data, and the one place where grafana-foundation-sdk turns that data into Grafana's JSON.

Only features of Grafana 9 to 12 are used (no schema v2). Every panel names the datasource variable.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model

PanelKind = Literal["timeseries", "stat", "table", "bargauge", "state"]

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "#56a64b", "#e0b400", "#e07a1f", "#d44a3a", "#5794f2", "#8e8e93"
DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and how its series are called (``{{label}}`` is filled in)."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """One panel. ``unit`` is a Grafana unit id; ``thresholds`` are (from, colour), the first from None.

    ``width`` is of 24. ``no_value`` is shown where the answer is empty on purpose (no alert fires).
    """

    title: str
    description: str
    kind: PanelKind
    unit: str
    queries: tuple[Query, ...]
    thresholds: tuple[tuple[float | None, str], ...] = ((None, BLUE),)
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None
    width: int = 8
    height: int = 8
    no_value: str | None = None
    stacked: bool = False
    values: tuple[tuple[float, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RowSpec:
    """A titled row of panels."""

    title: str
    panels: tuple[PanelSpec, ...]


@dataclass(frozen=True, slots=True)
class AnnotationSpec:
    """Marks on every time axis: one wherever the expression has a value."""

    name: str
    expr: str
    colour: str
    title: str


@dataclass(frozen=True, slots=True)
class BoardSpec:
    """A whole board. ``uid`` never changes, ``title`` is unique in the folder (two of one title stop provisioning)."""

    uid: str
    title: str
    description: str
    rows: tuple[RowSpec, ...]
    annotations: tuple[AnnotationSpec, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    time_from: str = "now-6h"
    refresh: str = "30s"
    links: tuple[tuple[str, str], ...] = ()


def board_json(spec: BoardSpec) -> dict[str, Any]:
    """The board as Grafana reads it."""
    builder = (
        dashboard.Dashboard(spec.title)
        .uid(spec.uid)
        .description(spec.description)
        .tags(["driftline"])
        .time(spec.time_from, "now")
        .timezone("browser")
        .refresh(spec.refresh)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
    )
    builder.link(
        dashboard.DashboardLink("driftline boards")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["driftline"])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    for title, url in spec.links:
        builder.link(dashboard.DashboardLink(title).type(model.DashboardLinkType.LINK).url(url).target_blank(True))
    for variable in _variables(spec):
        builder.with_variable(variable)
    for annotation in spec.annotations:
        builder.annotation(_annotation(annotation))
    for row in spec.rows:
        builder.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            builder.with_panel(_panel(panel))
    board: dict[str, Any] = json.loads(json.dumps(builder.build(), cls=JSONEncoder))
    for annotation, made in zip(spec.annotations, board["annotations"]["list"], strict=True):
        made["titleFormat"] = annotation.title  # the prometheus plugin's own field, which the SDK does not know
    for number, panel in enumerate(board["panels"], start=1):  # links to a panel need an id that stays
        panel["id"] = number
    return board


def _variables(spec: BoardSpec) -> list[Any]:
    chosen = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    variables: list[Any] = [chosen]
    for name, query in spec.variables:
        variables.append(
            dashboard.QueryVariable(name)
            .label(name.capitalize())
            .datasource(DATASOURCE)
            .query({"query": query, "refId": f"variable-{name}"})
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            # An explicit .* also matches an empty version, which a list of the known ones would leave out.
            .all_value(".*")
            .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
        )
    return variables


def _annotation(spec: AnnotationSpec) -> Any:
    return (
        dashboard.AnnotationQuery()
        .name(spec.name)
        .datasource(DATASOURCE)
        .enable(True)
        .icon_color(spec.colour)
        .expr(spec.expr)
    )


def _panel(spec: PanelSpec) -> Any:
    builder = _BUILDERS[spec.kind](spec)
    builder.title(spec.title).description(spec.description).unit(spec.unit).datasource(DATASOURCE)
    builder.span(spec.width).height(spec.height)
    steps = [model.Threshold(value=start, color=colour) for start, colour in spec.thresholds]
    builder.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    for setter, value in (
        ("min", spec.minimum),
        ("max", spec.maximum),
        ("decimals", spec.decimals),
        ("no_value", spec.no_value),
    ):
        if value is not None:
            getattr(builder, setter)(value)
    if spec.values:
        builder.mappings([_value_mapping(spec.values)])
    for index, query in enumerate(spec.queries):
        builder.with_target(
            _target(query, index, instant=spec.kind in {"table", "bargauge"}, table=spec.kind == "table")
        )
    return builder


def _target(query: Query, index: int, *, instant: bool, table: bool) -> Any:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").ref_id(chr(65 + index))
    target.datasource(DATASOURCE)
    target = target.instant() if instant else target.range()
    return target.format(prometheus_model.PromQueryFormat.TABLE) if table else target


def _timeseries(spec: PanelSpec) -> Any:
    legend = common.VizLegendOptions().display_mode(looks.LegendDisplayMode.LIST)
    legend.placement(looks.LegendPlacement.BOTTOM).show_legend(True).calcs([])
    tooltip = common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)
    builder = timeseries.Panel().legend(legend).tooltip(tooltip).line_width(1.5).fill_opacity(8)
    builder.show_points(looks.VisibilityMode.NEVER).color_scheme(_palette())
    if len(spec.thresholds) > 1:
        style = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
        builder.thresholds_style(style)
    if spec.stacked:
        builder.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A")).fill_opacity(35)
    return builder


def _stat(spec: PanelSpec) -> Any:
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    builder = stat.Panel().reduce_options(reduce).graph_mode(looks.BigValueGraphMode.AREA)
    mode = looks.BigValueTextMode.VALUE_AND_NAME if len(spec.queries) > 1 else looks.BigValueTextMode.AUTO
    return builder.color_mode(looks.BigValueColorMode.VALUE).text_mode(mode).color_scheme(_by_threshold())


def _bargauge(_spec: PanelSpec) -> Any:
    reduce = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    builder = bargauge.Panel().reduce_options(reduce).display_mode(looks.BarGaugeDisplayMode.BASIC)
    builder.orientation(looks.VizOrientation.HORIZONTAL).show_unfilled(True)
    return builder.value_mode(looks.BarGaugeValueMode.COLOR).color_scheme(_by_threshold())


def _table(_spec: PanelSpec) -> Any:
    hidden = model.DataTransformerConfig(
        id_val="organize", options={"excludeByName": {"Time": True, "__name__": True, "instance": True, "job": True}}
    )
    return table.Panel().show_header(True).cell_height(looks.TableCellHeight.SM).with_transformation(hidden)


def _state(_spec: PanelSpec) -> Any:
    builder = statetimeline.Panel().merge_values(True).row_height(0.85).show_value(looks.VisibilityMode.NEVER)
    legend = common.VizLegendOptions().display_mode(looks.LegendDisplayMode.LIST)
    legend.placement(looks.LegendPlacement.BOTTOM).show_legend(True).calcs([])
    return builder.legend(legend).color_scheme(_by_threshold()).fill_opacity(85)


def _value_mapping(values: tuple[tuple[float, str, str], ...]) -> Any:
    options = {
        f"{value:g}": model.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, text, colour) in enumerate(values)
    }
    return model.ValueMap(options=options)


def _palette() -> Any:
    return dashboard.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)


def _by_threshold() -> Any:
    return dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS)


_BUILDERS = {"timeseries": _timeseries, "stat": _stat, "table": _table, "bargauge": _bargauge, "state": _state}
