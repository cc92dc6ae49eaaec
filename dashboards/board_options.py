"""What all boards share: their options, variables, annotations and recurring panels."""

from dataclasses import dataclass

from dashboards.panels import BLUE, GREEN, ORANGE, RED, YELLOW, AnnotationSpec, PanelSpec, Query
from dashboards.queries import SERVER_ERRORS, recorded, select, share_of
from driftline import names, rule_names

OBJECTIVE_TITLES = {
    "availability": "Availability",
    "latency": "Latency",
    "capture": "Capture completeness",
    "data_quality": "Data quality",
    "drift": "Time without drift",
    "correctness": "Correctness",
}

_BUSY_METRICS = f"{names.SIDECAR_REQUESTS.name}|{names.COLLECTOR_EVENTS.name}"
VARIABLES = tuple(
    (
        label,
        f'label_values({{__name__=~"{_BUSY_METRICS}"{scope}}}, {label})',
    )
    for label, scope in (
        (names.NAMESPACE, ""),
        (names.MODEL, ',namespace=~"$namespace"'),
        (names.VERSION, ',namespace=~"$namespace",model=~"$model"'),
    )
)

#: How a series is called that there is one of for each model.
MODEL_LEGEND = "{{namespace}}/{{model}}"
_VERSIONS = f"count by (namespace, model, version, variant) ({select(names.SIDECAR_REQUESTS)})"
ANNOTATIONS = (
    AnnotationSpec(
        "Alerts",
        'ALERTS{alertstate="firing",namespace=~"$namespace",model=~"$model"}',
        RED,
        "{{alertname}} {{namespace}}/{{model}}",
    ),
    AnnotationSpec(
        "Deploys",
        f"{_VERSIONS} unless {_VERSIONS.replace('})', '} offset 10m)')}",
        BLUE,
        "{{model}} {{version}} ({{variant}}) first seen",
    ),
)

#: Grafana colours of a share of good events, from bad to good.
GOOD_SHARE = ((None, RED), (0.99, ORANGE), (0.995, YELLOW), (0.999, GREEN))
BUDGET = ((None, RED), (0.0, ORANGE), (0.25, YELLOW), (0.5, GREEN))
DRIFT_STATES = (
    (0.0, "not enough evidence", "#8e8e93"),
    (1.0, "ok", GREEN),
    (2.0, "warning", YELLOW),
    (3.0, "drifted", RED),
)
STATE_STEPS = ((None, "#8e8e93"), (1.0, GREEN), (2.0, YELLOW), (3.0, RED))


@dataclass(frozen=True, slots=True)
class BoardOptions:
    """What boards depend on. ``pages_url``: where driftline's own pages are, for links; empty: no links."""

    pages_url: str = ""

    def links(self) -> tuple[tuple[str, str], ...]:
        """Links at the head of every board."""
        base = self.pages_url.rstrip("/")
        return (("Open pages", f"{base}/pages"), ("driftline", base)) if base else ()


def budget_panels() -> tuple[PanelSpec, ...]:
    """One bar gauge per kind of objective: the share of its error budget that is left, from the generated rules."""
    return tuple(
        PanelSpec(
            title=f"{title}: error budget left",
            description=f"Share of the {title.lower()} error budget left over the objective's rolling period, the "
            "twenty models with the least first. 100 % is untouched, 0 % is spent, below is overspent: stop risky "
            "changes.",
            kind="bargauge",
            unit="percentunit",
            queries=(
                Query(f"bottomk(20, {recorded(rule_names.RULE_BUDGET_REMAINING, kind)})", "{{namespace}}/{{model}}"),
            ),
            thresholds=BUDGET,
            minimum=0.0,
            maximum=1.0,
            decimals=1,
            width=8,
            height=6,
            no_value="no model has this objective",
        )
        for kind, title in OBJECTIVE_TITLES.items()
    )


def success_rate(*by: str, window: str) -> str:
    """Share of answers that are not server errors."""
    return f"1 - {share_of(names.SIDECAR_REQUESTS, SERVER_ERRORS, *by, window=window)}"


LATENCY_STEPS = ((None, GREEN), (0.2, YELLOW), (0.5, RED))
