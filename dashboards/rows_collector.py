"""Panels about the collector's consumer, the balance of events, and its API."""

from dashboards.panels import GREEN, RED, YELLOW, PanelSpec, Query
from dashboards.queries import or_zero, rate, select, top, total
from driftline import names, rule_names

_PLACE = ("namespace", "model")
_CHOSEN = '{namespace=~"$namespace",model=~"$model"}'


def collector_state() -> tuple[PanelSpec, ...]:
    """Is the consumer at work, how far behind is it, and has everything arrived."""
    return (
        PanelSpec(
            "Consumer",
            "1: stuck or stopped, as /healthz says it. Idle, or waiting for a database that is away, is 0.",
            "stat",
            "short",
            (Query(f"max by (instance) ({select(names.COLLECTOR_STUCK)})", "{{instance}}"),),
            ((None, GREEN), (1.0, RED)),
            decimals=0,
            width=3,
        ),
        PanelSpec(
            "Present step",
            "How long it has taken so far. A climb without an end: a poll or a transaction that does not return.",
            "timeseries",
            "s",
            (Query(f"max by (instance, state) ({select(names.COLLECTOR_STEP)})", "{{instance}} {{state}}"),),
            minimum=0.0,
            width=6,
        ),
        _how_far_behind(),
        PanelSpec(
            "Not read until somebody acts",
            "Partitions of Kafka topics that were deleted and made anew: /healthz says what is to be done.",
            "stat",
            "short",
            (Query(or_zero(total(select(names.COLLECTOR_HELD)), total(select(names.COLLECTOR_STUCK))), "partitions"),),
            ((None, GREEN), (1.0, RED)),
            decimals=0,
            width=3,
        ),
        PanelSpec(
            "Arrived out of logged",
            "Over hours: stored or dead letters, out of what the sidecars logged. Less than 1: on its way, or lost.",
            "timeseries",
            "percentunit",
            (
                Query(
                    f'{rule_names.RULE_ARRIVED}{{namespace=~"$namespace",model=~"$model"}}', "{{namespace}}/{{model}}"
                ),
            ),
            ((None, RED), (0.99, YELLOW), (0.999, GREEN)),
            minimum=0.0,
            width=6,
        ),
        *_use(),
    )


def _use() -> tuple[PanelSpec, ...]:
    replays = total(rate(names.DEAD_LETTER_REPLAYS), "outcome")
    return (
        PanelSpec(
            "Replays",
            "Dead letters per second that were replayed: stored, duplicate, or failed again.",
            "timeseries",
            "cps",
            (Query(or_zero(replays, total(rate(names.COLLECTOR_EVENTS))), "{{outcome}}"),),
            minimum=0.0,
            width=12,
            height=6,
        ),
        PanelSpec(
            "API requests by status",
            "Per second; 401 and 403 are refusals for want of a token or a scope.",
            "timeseries",
            "reqps",
            (Query(total(rate(names.API_REQUESTS), "code"), "{{code}}"),),
            stacked=True,
            width=12,
            height=6,
        ),
    )


def _how_far_behind() -> PanelSpec:
    """By partition; and those that nobody reads."""
    return PanelSpec(
        "How far behind",
        "Age of the newest stored event of each partition that has more to read; 0 at its end. Nobody reads: for how "
        "long nothing was stored of one in which more waits.",
        "timeseries",
        "s",
        (
            Query(top(20, select(names.COLLECTOR_LAG_SECONDS)), "{{partition}}"),
            Query(f"max by (partition) ({select(names.COLLECTOR_RESTING)})", "nobody reads {{partition}}"),
        ),
        minimum=0.0,
        width=6,
    )
