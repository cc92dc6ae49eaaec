"""The on-call board: what is failing now, where, since when, and whether the canary does it too."""

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
from dashboards.panels import GREEN, RED, YELLOW, BoardSpec, PanelSpec, Query, RowSpec
from dashboards.queries import RATE_WINDOW, age, or_zero, quantile, rate, select, top, total
from driftline import names

_BY_MODEL = ("namespace", "model")
_FIRING = 'ALERTS{alertstate="firing",namespace=~"$namespace",model=~"$model"}'


def oncall(options: BoardOptions) -> BoardSpec:
    """Firing alerts, errors, latency, traffic per version and variant."""
    return BoardSpec(
        uid="driftline-oncall",
        title="driftline / On-call",
        description="What is failing now, where and since when.",
        rows=(
            RowSpec("Firing", _firing()),
            RowSpec("Errors", _errors()),
            RowSpec("Latency", _latency()),
            RowSpec("Versions and canaries", _versions()),
            RowSpec("Error budgets", budget_panels()),
        ),
        annotations=ANNOTATIONS,
        variables=VARIABLES,
        time_from="now-3h",
        refresh="15s",
        links=options.links(),
    )


def _firing() -> tuple[PanelSpec, ...]:
    return (
        PanelSpec(
            "Firing alerts",
            "What fires now, most severe first. The page with the evidence is on driftline's own pages.",
            "table",
            "short",
            (Query(f"sum by (alertname, severity, slo, namespace, model) ({_FIRING})"),),
            width=12,
            height=7,
            no_value="nothing fires",
        ),
        PanelSpec(
            "Requests per second",
            "Answered inference requests now.",
            "stat",
            "reqps",
            (Query(total(rate(names.SIDECAR_REQUESTS))),),
            width=4,
            height=7,
        ),
        PanelSpec(
            "Success rate now",
            "Answers that were not server errors in the last minutes.",
            "stat",
            "percentunit",
            (Query(success_rate(window=RATE_WINDOW)),),
            GOOD_SHARE,
            decimals=2,
            width=4,
            height=7,
        ),
        PanelSpec(
            "Newest event",
            "Age of the newest stored event. Growing while traffic flows: the pipeline is broken, see pipeline health.",
            "stat",
            "s",
            (Query(f"max({age(names.COLLECTOR_LAST_EVENT, *_BY_MODEL)})"),),
            ((None, GREEN), (300.0, YELLOW), (1800.0, RED)),
            width=4,
            height=7,
        ),
    )


def _errors() -> tuple[PanelSpec, ...]:
    requests = names.SIDECAR_REQUESTS
    everything = total(rate(requests), *_BY_MODEL)
    server_errors = or_zero(total(rate(requests, 'code=~"5.."'), *_BY_MODEL), everything)
    upstream = total(rate(names.SIDECAR_UPSTREAM_ERRORS), "reason")
    return (
        PanelSpec(
            "Answers by status code",
            "Requests per second by status. 4xx is the caller's fault or a schema change upstream; 5xx is ours.",
            "timeseries",
            "reqps",
            (Query(total(rate(requests), "code"), "{{code}}"),),
            stacked=True,
        ),
        PanelSpec(
            "Server errors by model",
            "The ten models with the most server errors per second.",
            "timeseries",
            "reqps",
            (Query(top(10, server_errors), MODEL_LEGEND),),
        ),
        PanelSpec(
            "No answer from the model server",
            "Requests the model server did not answer, by reason: refused (down or restarting), timeout (slow), "
            "protocol (broken answer).",
            "timeseries",
            "reqps",
            (Query(f"{upstream} or 0 * {total(select(names.SIDECAR_INFLIGHT))}", "{{reason}}"),),
        ),
    )


def _latency() -> tuple[PanelSpec, ...]:
    metric = names.SIDECAR_LATENCY
    return (
        PanelSpec(
            "Latency p50, p95, p99",
            "Over all chosen models. Averages hide tails, so there is none.",
            "timeseries",
            "s",
            tuple(Query(quantile(share, metric), f"p{share * 100:.0f}") for share in (0.5, 0.95, 0.99)),
            LATENCY_STEPS,
            minimum=0.0,
        ),
        PanelSpec(
            "p95 by model",
            "The ten slowest models.",
            "timeseries",
            "s",
            (Query(top(10, quantile(0.95, metric, *_BY_MODEL)), MODEL_LEGEND),),
            minimum=0.0,
        ),
        PanelSpec(
            "In flight",
            "Requests between client and model server. A steady climb is a queue.",
            "timeseries",
            "short",
            (Query(total(select(names.SIDECAR_INFLIGHT)), "in flight"),),
            minimum=0.0,
        ),
    )


def _versions() -> tuple[PanelSpec, ...]:
    by_version = ("model", "version", "variant")
    legend = "{{model}} {{version}} {{variant}}"
    errors = success_rate(*by_version, window=RATE_WINDOW)
    return (
        PanelSpec(
            "Traffic per version and variant",
            "Compare with the declared weights: an untracked canary shows up here.",
            "timeseries",
            "reqps",
            (Query(top(20, total(rate(names.SIDECAR_REQUESTS), *by_version)), legend),),
            stacked=True,
        ),
        PanelSpec(
            "Success rate per version and variant",
            "A canary below stable by more than noise: roll it back. Ten requests prove nothing.",
            "timeseries",
            "percentunit",
            (Query(f"bottomk(20, {errors})", legend),),
            ((None, RED), (0.999, GREEN)),
            maximum=1.0,
        ),
        PanelSpec(
            "p95 per version and variant",
            "Canary against stable.",
            "timeseries",
            "s",
            (Query(top(20, quantile(0.95, names.SIDECAR_LATENCY, *by_version)), legend),),
            minimum=0.0,
        ),
    )
