"""The executive board: is it reliable, is it right, is the budget there, in one screen."""

from dashboards.board_options import (
    ANNOTATIONS,
    GOOD_SHARE,
    LATENCY_STEPS,
    MODEL_LEGEND,
    VARIABLES,
    BoardOptions,
    budget_panels,
    success_rate,
)
from dashboards.panels import BLUE, GREEN, ORANGE, RED, YELLOW, BoardSpec, PanelSpec, Query, RowSpec
from dashboards.queries import DROPPED, RANGE, increase, quantile, rate, select, share_of, top, total
from driftline import names

_ALL_ROWS = f'{names.SEGMENT}=""'
_HEADLINE_METRICS = f'{names.METRIC}=~"accuracy|f1|r2|ndcg@.+"'


def executive(options: BoardOptions) -> BoardSpec:
    """Reliability, error budgets, accuracy and traffic per model."""
    return BoardSpec(
        uid="driftline-executive",
        title="driftline / Executive",
        description="Reliability, error budgets and accuracy of every model.",
        rows=(
            RowSpec("Now", _headline()),
            RowSpec("Error budgets", budget_panels()),
            RowSpec("Accuracy and drift", _quality()),
            RowSpec("Models", _models()),
        ),
        annotations=ANNOTATIONS,
        variables=VARIABLES,
        time_from="now-7d",
        refresh="1m",
        links=options.links(),
    )


def _headline() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Success rate",
            "Answers that were not server errors, over the time shown. Client errors (4xx) do not count against it.",
            "stat",
            "percentunit",
            (Query(success_rate(window=RANGE)),),
            GOOD_SHARE,
            decimals=3,
            width=6,
            height=5,
        ),
        PanelSpec(
            "Latency, 95th percentile",
            "Nineteen of twenty answers came within this time, as the client sees it, over the time shown.",
            "stat",
            "s",
            (Query(quantile(0.95, names.SIDECAR_LATENCY, window=RANGE)),),
            LATENCY_STEPS,
            width=6,
            height=5,
        ),
        PanelSpec(
            "Capture completeness",
            "Inferences that were logged or sampled out on purpose, out of all. What is missing here is missing "
            "from every other figure.",
            "stat",
            "percentunit",
            (Query(f"1 - {share_of(names.CAPTURE_EVENTS, DROPPED, window=RANGE)}"),),
            GOOD_SHARE,
            decimals=3,
            width=6,
            height=5,
        ),
        PanelSpec(
            "Pages received",
            "Alert notifications of severity page that reached the page desk in the time shown.",
            "stat",
            "short",
            (Query(total(increase(names.PAGES_RECEIVED, f'{names.SEVERITY}="{names.SEVERITY_PAGE}"'))),),
            ((None, GREEN), (1.0, ORANGE), (5.0, RED)),
            decimals=0,
            width=6,
            height=5,
            no_value="none",
        ),
    )


def _quality() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Accuracy trend",
            "The metric of each model on predictions whose labels arrived, newest window. Read it together with its "
            "interval and label coverage on the model-quality board.",
            "timeseries",
            "percentunit",
            (Query(select(names.PERFORMANCE, _ALL_ROWS, _HEADLINE_METRICS), "{{model}} {{version}} {{metric}}"),),
            width=12,
            no_value="no labels have arrived yet",
        ),
        PanelSpec(
            "Label coverage",
            "Share of the newest window's predictions whose truth is known. Little coverage: provisional accuracy.",
            "timeseries",
            "percentunit",
            (Query(select(names.LABEL_COVERAGE, _ALL_ROWS), "{{model}} {{version}} {{variant}}"),),
            ((None, RED), (0.2, YELLOW), (0.8, GREEN)),
            minimum=0.0,
            maximum=1.0,
            width=6,
        ),
        PanelSpec(
            "Drifted columns",
            "Columns of the newest window that moved further than the monitor's margin.",
            "bargauge",
            "short",
            (Query(top(20, select(names.DRIFTED_COLUMNS, _ALL_ROWS)), "{{model}} {{version}} {{variant}}"),),
            ((None, GREEN), (1.0, ORANGE), (3.0, RED)),
            minimum=0.0,
            decimals=0,
            width=6,
        ),
    )


def _models() -> tuple[PanelSpec, ...]:
    by_model = ("namespace", "model")
    return (
        PanelSpec(
            "Busiest models",
            "Requests per second: where a fault would hurt most.",
            "timeseries",
            "reqps",
            (Query(top(10, total(rate(names.SIDECAR_REQUESTS), *by_model)), MODEL_LEGEND),),
            width=12,
        ),
        PanelSpec(
            "Success rate by model",
            "The models with the most server errors first, over the time shown.",
            "bargauge",
            "percentunit",
            (Query(f"bottomk(20, {success_rate(*by_model, window=RANGE)})", MODEL_LEGEND),),
            GOOD_SHARE,
            minimum=0.9,
            maximum=1.0,
            decimals=3,
            width=6,
        ),
        PanelSpec(
            "Requests served",
            "Answered inferences in the time shown; multiply by your price per request for cost.",
            "bargauge",
            "short",
            (Query(top(20, total(increase(names.SIDECAR_REQUESTS), *by_model)), MODEL_LEGEND),),
            ((None, BLUE),),
            minimum=0.0,
            decimals=0,
            width=6,
        ),
    )
