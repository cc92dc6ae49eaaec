"""The pipeline-health board: is every inference accounted for on its way to a result."""

from dashboards.board_options import ANNOTATIONS, GOOD_SHARE, VARIABLES, BoardOptions
from dashboards.panels import GREEN, RED, YELLOW, BoardSpec, PanelSpec, Query, RowSpec
from dashboards.queries import DROPPED, age, increase, quantile, rate, select, share_of, top, total
from dashboards.rows_collector import collector_state
from dashboards.rows_sidecar import gpu_row, proxy_row
from driftline import names


def pipeline_health(options: BoardOptions) -> BoardSpec:
    """Capture, spool, shipper, collector, detectors, pages: each link with its own panel."""
    return BoardSpec(
        uid="driftline-pipeline",
        title="driftline / Pipeline health",
        description="From the wire to the page: each link with what it took, lost and still holds.",
        rows=(
            RowSpec("Capture and spool", _capture()),
            proxy_row(),
            RowSpec("Shipper", _shipper()),
            RowSpec("Collector", _collector()),
            RowSpec("Consumer, balance and API", collector_state()),
            RowSpec("Events of other loggers", _collector_sources()),
            RowSpec("What the collector could not take", _collector_faults()),
            RowSpec("Detectors and pages", _detectors()),
            gpu_row(),
        ),
        annotations=ANNOTATIONS,
        variables=VARIABLES,
        time_from="now-6h",
        links=options.links(),
    )


def _capture() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Capture by outcome and reason",
            "What became of each inference: logged, sampled out, or dropped with its reason. They add up to all.",
            "timeseries",
            "reqps",
            (Query(total(rate(names.CAPTURE_EVENTS), "outcome", "reason"), "{{outcome}} {{reason}}"),),
            stacked=True,
            width=9,
        ),
        PanelSpec(
            "Capture completeness",
            "Logged or sampled out on purpose, out of all.",
            "stat",
            "percentunit",
            (Query(f"1 - {share_of(names.CAPTURE_EVENTS, DROPPED)}"),),
            GOOD_SHARE,
            decimals=3,
            width=5,
        ),
        PanelSpec(
            "Spool fill",
            "Bytes in the spool out of its limit. Full: events are dropped and counted, inference goes on.",
            "timeseries",
            "percentunit",
            (Query(f"{select(names.SPOOL_BYTES)} / {select(names.SPOOL_LIMIT_BYTES)}", "{{instance}}"),),
            ((None, GREEN), (0.5, YELLOW), (0.9, RED)),
            minimum=0.0,
            maximum=1.0,
            width=5,
        ),
        PanelSpec(
            "Oldest unshipped segment",
            "Age of the oldest segment still in the spool.",
            "timeseries",
            "s",
            (Query(select(names.SPOOL_OLDEST_AGE), "{{instance}}"),),
            minimum=0.0,
            width=5,
        ),
        PanelSpec(
            "Bytes through the proxy",
            "Body bytes per second, in and out.",
            "timeseries",
            "Bps",
            (Query(total(rate(names.SIDECAR_BYTES), "direction"), "{{direction}}"),),
            width=12,
            height=6,
        ),
        PanelSpec(
            "Client connections",
            "Open connections at the sidecars.",
            "timeseries",
            "short",
            (Query(total(select(names.SIDECAR_CONNECTIONS)), "connections"),),
            width=12,
            height=6,
        ),
    )


def _shipper() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Delivery by sink",
            "Events per second a sink took or lost, with the reason.",
            "timeseries",
            "cps",
            (Query(total(rate(names.SHIPPER_EVENTS), "sink", "outcome", "reason"), "{{sink}} {{outcome}} {{reason}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Not yet delivered",
            "Spool bytes a sink has not acknowledged.",
            "timeseries",
            "bytes",
            (Query(total(select(names.SHIPPER_LAG_BYTES), "sink"), "{{sink}}"),),
            minimum=0.0,
        ),
        PanelSpec(
            "Read for a sink, not yet taken",
            "Spool bytes in the batch that a sink is being given.",
            "timeseries",
            "bytes",
            (Query(total(select(names.SHIPPER_INFLIGHT_BYTES), "sink"), "{{sink}}"),),
            minimum=0.0,
        ),
        PanelSpec(
            "Oldest undelivered event",
            "Age of the oldest event that a sink has not yet taken; grows while the sink is away.",
            "timeseries",
            "s",
            (Query(total(select(names.SHIPPER_LAG_AGE), "sink"), "{{sink}}"),),
            minimum=0.0,
        ),
        PanelSpec(
            "Sinks that take events",
            "1 while a sink takes events, 0 while it is away.",
            "timeseries",
            "short",
            (Query(total(select(names.SHIPPER_SINK_UP), "sink"), "{{sink}}"),),
            minimum=0.0,
        ),
        PanelSpec(
            "Time to acknowledge, p95",
            "From handing a batch to a sink to its acknowledgement.",
            "timeseries",
            "s",
            (Query(quantile(0.95, names.SHIPPER_DELIVERY, "sink"), "{{sink}}"),),
            minimum=0.0,
        ),
    )


def _collector() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Events by outcome",
            "Events read per second: stored, duplicate (replays change nothing), dead letter.",
            "timeseries",
            "cps",
            (Query(total(rate(names.COLLECTOR_EVENTS), "outcome"), "{{outcome}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Distance to the end",
            "Per partition: records (Kafka) or bytes (spool) not yet read. A steady climb: add a collector.",
            "timeseries",
            "short",
            (Query(top(20, select(names.COLLECTOR_LAG)), "{{partition}}"),),
            minimum=0.0,
        ),
        PanelSpec(
            "Freshness",
            "Age of the newest stored event per model.",
            "timeseries",
            "s",
            (Query(f"min by (namespace, model) ({select(names.COLLECTOR_FRESHNESS)})", "{{namespace}}/{{model}}"),),
            ((None, GREEN), (300.0, YELLOW), (1800.0, RED)),
            minimum=0.0,
        ),
        PanelSpec(
            "Transaction time, p95",
            "Rows, counts and positions committed together.",
            "timeseries",
            "s",
            (Query(quantile(0.95, names.COLLECTOR_COMMIT), "p95"),),
            minimum=0.0,
        ),
        PanelSpec(
            "Rows stored",
            "Prediction rows per second, by whether they pass validation.",
            "timeseries",
            "cps",
            (Query(total(rate(names.COLLECTOR_ROWS), "outcome"), "{{outcome}}"),),
            stacked=True,
        ),
    )


def _collector_sources() -> tuple[PanelSpec, ...]:
    """Events of loggers that are not ours."""
    came = total(rate(names.SOURCE_EVENTS), "outcome", "reason")
    return (
        PanelSpec(
            "Halves of inferences",
            "Requests and answers per second that came as events of their own. Unpaired: the other half never came.",
            "timeseries",
            "cps",
            (Query(_or_zero(total(rate(names.HALVES), "outcome")), "{{outcome}}"),),
            width=8,
            height=8,
        ),
        PanelSpec(
            "Waiting for the other half",
            "A steady climb: one of both halves is not logged, or is lost on its way.",
            "timeseries",
            "short",
            (
                Query(f"max({select(names.WAITING_HALVES)})", "halves"),
                Query(f"max({select(names.WAITING_HALVES_BYTES)})", "bytes"),
            ),
            minimum=0.0,
            width=8,
            height=8,
        ),
        PanelSpec(
            "Events over HTTP",
            "Events per second sent to the collector; refused ones with their reason.",
            "timeseries",
            "cps",
            (Query(_or_zero(came), "{{outcome}} {{reason}}"),),
            width=8,
            height=8,
        ),
    )


def _collector_faults() -> tuple[PanelSpec, ...]:
    dead = total(rate(names.COLLECTOR_EVENTS, 'outcome="dead_letter"'), "reason")
    waits = total(rate(names.COLLECTOR_WAITS), "part")
    unwritten = total(rate(names.COLLECTOR_PAYLOAD_FAILURES), "namespace", "model")
    return (
        PanelSpec(
            "Dead letters by reason",
            "Events per second that could not be read or decoded.",
            "timeseries",
            "cps",
            (Query(_or_zero(dead), "{{reason}}"),),
        ),
        PanelSpec(
            "Waits by part",
            "Batches per second that had to wait because the database or the broker did not answer.",
            "timeseries",
            "cps",
            (Query(f"{waits} or 0 * {total(select(names.COLLECTOR_LAG))}", "{{part}}"),),
            width=8,
            height=8,
        ),
        PanelSpec(
            "Payload files not written",
            "Batches per second whose Parquet rows could not be written; their rows are stored all the same.",
            "timeseries",
            "cps",
            (Query(f"{unwritten} or 0 * {total(rate(names.COLLECTOR_ROWS))}", "{{namespace}}/{{model}}"),),
            width=8,
            height=8,
        ),
        PanelSpec(
            "Let go",
            "Rows, files and whole days per second that were removed: past their retention, or erased on request.",
            "timeseries",
            "cps",
            (Query(_or_zero(total(rate(names.COLLECTOR_REMOVED), "kind")), "{{kind}}"),),
            width=8,
            height=8,
        ),
    )


def _detectors() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Detectors' last look",
            "Age of each model's newest evaluation.",
            "timeseries",
            "s",
            (Query(age(names.DETECTORS_LAST_RUN, "namespace", "model"), "{{namespace}}/{{model}}"),),
            ((None, GREEN), (900.0, YELLOW), (3600.0, RED)),
            minimum=0.0,
        ),
        PanelSpec(
            "Time to evaluate a window, p95",
            "From counts to verdicts.",
            "timeseries",
            "s",
            (Query(quantile(0.95, names.DETECTORS_EVALUATION, window="$__range"), "p95"),),
            minimum=0.0,
        ),
        PanelSpec(
            "Pages received",
            "Alert notifications that reached the page desk in the time shown.",
            "bargauge",
            "short",
            (Query(total(increase(names.PAGES_RECEIVED), "severity", "slo"), "{{severity}} {{slo}}"),),
            minimum=0.0,
            decimals=0,
            no_value="none",
        ),
    )


def _or_zero(counted: str) -> str:
    """What was counted, or zero where a collector runs that never counted any."""
    return f"{counted} or 0 * {total(rate(names.COLLECTOR_EVENTS))}"
