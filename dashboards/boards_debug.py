"""The debug board: one model in depth, column by column."""

from dashboards.board_options import ANNOTATIONS, DRIFT_STATES, STATE_STEPS, VARIABLES, BoardOptions
from dashboards.panels import GREEN, ORANGE, RED, YELLOW, BoardSpec, PanelSpec, Query, RowSpec
from dashboards.queries import age, increase, or_zero, quantile, rate, ratio, select, share_of, top, total
from driftline import names

_ALL_ROWS = f'{names.SEGMENT}=""'
_STREAM = "{{version}} {{variant}}"


def debug(options: BoardOptions) -> BoardSpec:
    """Every column's drift, validation failures, latency by version, dead letters."""
    return BoardSpec(
        uid="driftline-debug",
        title="driftline / Debug one model",
        description="One model in depth. Choose it above; sampled payloads and traces are on driftline's own pages.",
        rows=(
            RowSpec("Columns", _columns()),
            RowSpec("Segments", _segments()),
            RowSpec("Validation and payloads", _validation()),
            RowSpec("Serving, as the client sees it", _serving()),
            RowSpec("Model server", _model_server()),
        ),
        annotations=ANNOTATIONS,
        variables=VARIABLES,
        time_from="now-24h",
        links=options.links(),
    )


def _columns() -> tuple[PanelSpec, ...]:
    legend = "{{column}} ({{detector}}) " + _STREAM
    return (
        PanelSpec(
            "Drift state per column",
            "Verdict of each column's newest window over time; the forty that moved most.",
            "state",
            "none",
            (Query(top(40, select(names.DRIFT_STATE, _ALL_ROWS)), legend),),
            STATE_STEPS,
            width=24,
            height=12,
            values=DRIFT_STATES,
        ),
        PanelSpec(
            "Effect size",
            "How far each column moved: largest difference of the distribution functions (numeric) or total variation "
            "distance (categorical), 0 to 1. This, not the p-value, says whether it matters.",
            "bargauge",
            "percentunit",
            (Query(top(25, select(names.DRIFT_EFFECT, _ALL_ROWS)), legend),),
            ((None, GREEN), (0.1, ORANGE), (0.25, RED)),
            minimum=0.0,
            decimals=2,
            width=8,
            height=12,
        ),
        PanelSpec(
            "P-values",
            "Chance of a difference this large without drift; smallest first. Many rows make tiny effects significant: "
            "read beside the effect.",
            "table",
            "sci",
            (Query(f"bottomk(25, {select(names.DRIFT_P_VALUE, _ALL_ROWS)})"),),
            width=8,
            height=12,
        ),
        PanelSpec(
            "Statistics",
            "The raw statistics of the newest window, for those who know them.",
            "table",
            "short",
            (Query(top(50, select(names.DRIFT_STATISTIC, _ALL_ROWS))),),
            decimals=4,
            width=8,
            height=12,
        ),
    )


def _segments() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Drifted columns by segment",
            "Where the change sits. Empty segment: all rows.",
            "bargauge",
            "short",
            (Query(top(30, select(names.DRIFTED_COLUMNS)), "{{segment}} " + _STREAM),),
            ((None, GREEN), (1.0, ORANGE), (3.0, RED)),
            minimum=0.0,
            decimals=0,
        ),
        PanelSpec(
            "Accuracy by segment",
            "The worst thirty. A segment can be served badly while the whole looks fine.",
            "bargauge",
            "percentunit",
            (Query(f"bottomk(30, {select(names.PERFORMANCE)})", "{{segment}} {{metric}} " + _STREAM),),
            minimum=0.0,
            maximum=1.0,
            decimals=3,
            no_value="no labels have arrived yet",
        ),
        PanelSpec(
            "Rows by segment",
            "Rows in the newest window: few rows, weak evidence.",
            "bargauge",
            "short",
            (Query(top(30, select(names.WINDOW_ROWS)), "{{segment}} " + _STREAM),),
            minimum=0.0,
            decimals=0,
        ),
    )


def _validation() -> tuple[PanelSpec, ...]:
    failures = total(rate(names.VALIDATION_FAILURES), "column", "reason")
    rows = total(rate(names.COLLECTOR_ROWS))
    dead = total(increase(names.COLLECTOR_EVENTS, 'outcome="dead_letter"'), "reason")
    unmonitored = total(increase(names.COLLECTOR_EVENTS, 'reason="unknown_model"'), "namespace", "model")
    return (
        PanelSpec(
            "Validation failures by column",
            "Values per second that break the monitor's rules. A jump in one column is usually a change upstream.",
            "timeseries",
            "cps",
            (Query(f"{top(15, failures)} or 0 * {rows}", "{{column}} {{reason}}"),),
        ),
        PanelSpec(
            "Rows that fail validation",
            "Share of stored rows with at least one invalid value.",
            "timeseries",
            "percentunit",
            (Query(share_of(names.COLLECTOR_ROWS, 'outcome="fail"', "model", "version", "variant"), _STREAM),),
            ((None, GREEN), (0.01, YELLOW), (0.05, RED)),
            minimum=0.0,
        ),
        PanelSpec(
            "Dead letters by reason",
            "Events in the time shown that could not be read or decoded; they are kept with their reason.",
            "bargauge",
            "short",
            (Query(f"{dead} or 0 * {total(increase(names.COLLECTOR_EVENTS))}", "{{reason}}"),),
            ((None, GREEN), (1.0, ORANGE)),
            minimum=0.0,
            decimals=0,
        ),
        PanelSpec(
            "Models without a monitor",
            "Their events are kept as dead letters. Write a monitor (driftline init) and replay them, or stop logging.",
            "bargauge",
            "short",
            (
                Query(
                    f"{top(15, unmonitored)} or 0 * {total(increase(names.COLLECTOR_EVENTS))}",
                    "{{namespace}}/{{model}}",
                ),
            ),
            ((None, GREEN), (1.0, ORANGE)),
            minimum=0.0,
            decimals=0,
        ),
    )


def _serving() -> tuple[PanelSpec, ...]:
    by = ("version", "variant")
    client_errors = total(rate(names.SIDECAR_REQUESTS, 'code=~"4.."'), *by)
    everything = total(rate(names.SIDECAR_REQUESTS), *by)
    return (
        PanelSpec(
            "Latency p50 and p99 by version",
            "As the client sees it.",
            "timeseries",
            "s",
            tuple(
                Query(quantile(share, names.SIDECAR_LATENCY, *by), f"p{share * 100:.0f} {_STREAM}")
                for share in (0.5, 0.99)
            ),
            minimum=0.0,
        ),
        PanelSpec(
            "Client errors",
            "Share of 4xx answers: callers that send what the model does not take.",
            "timeseries",
            "percentunit",
            (Query(ratio(client_errors, everything), _STREAM),),
            minimum=0.0,
        ),
        PanelSpec(
            "Traffic by protocol",
            "Requests per second by the protocol they were made in.",
            "timeseries",
            "reqps",
            (Query(or_zero(total(rate(names.SIDECAR_REQUESTS), "protocol"), everything), "{{protocol}}"),),
            stacked=True,
        ),
    )


def _model_server() -> tuple[PanelSpec, ...]:
    by = ("model", "version")
    legend = "{{model}} {{version}}"
    return (
        PanelSpec(
            "Models loaded",
            "1 for a model that is loaded, 0 for one that failed to load: its requests get 5xx from the start.",
            "stat",
            "none",
            (Query(f"min by (model, version) ({select(names.SERVING_MODEL_READY)})", legend),),
            ((None, RED), (1.0, GREEN)),
            decimals=0,
            width=6,
        ),
        PanelSpec(
            "Server's own answers by code",
            "Requests per second as driftline's model server counts them; compare with the sidecar's.",
            "timeseries",
            "reqps",
            (Query(total(rate(names.SERVING_REQUESTS), *by, "code"), legend + " {{code}}"),),
            stacked=True,
            width=6,
        ),
        PanelSpec(
            "Inference time, p95",
            "Reading, running and writing, without the way to the client.",
            "timeseries",
            "s",
            (Query(quantile(0.95, names.SERVING_LATENCY, *by), legend),),
            minimum=0.0,
            width=6,
        ),
        PanelSpec(
            "Since the last answer",
            "A model that answers nobody for long may be routed past.",
            "timeseries",
            "s",
            (Query(age(names.SERVING_LAST_REQUEST, *by), legend),),
            minimum=0.0,
            width=6,
        ),
    )
