"""Alerts about the monitoring itself: silence must not look like health.

Nothing here compares a metric with Prometheus's ``time()``: the parts may run on a scaled clock, which Prometheus does
not know. "It has not moved for this long" asks the same question on any clock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alerts.burn_rules import Group, Rule
from alerts.options import RuleOptions
from alerts.selectors import Matcher, Selector
from alerts.texts import percent, template_safe
from driftline import names, rule_names
from driftline.durations import format_duration
from driftline.monitors import Monitor
from driftline.objectives import Severity

MINUTE_S = 60.0
HOUR_S = 3600.0
ABSENT_AFTER_S = 15 * MINUTE_S
STALE_AFTER_S = HOUR_S
STALLED_AFTER_S = 15 * MINUTE_S
LAG_GROWS_FOR_S = 30 * MINUTE_S
#: Real seconds: partitions of a collector that was killed rest for 15 until others have them.
RESTS_FOR_S = 2 * MINUTE_S
SPOOL_FULL_SHARE = 0.8
DOWN_FOR_S = 5 * MINUTE_S
REFUSED_WITHIN_S = 15 * MINUTE_S
#: Events arrive within this time, or something is wrong; a share of them may be on its way at either end.
ARRIVES_WITHIN_S = 6 * HOUR_S
ARRIVED_SHARE = 0.99
#: One inference in twenty lost: from here on what is left may be a skewed sample, so quality alerts are muted.
DROPPING_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Health:
    """One alert about the monitoring: ``expr`` over real time, ``for_s`` on the monitors' clock."""

    alert: str
    expr: str
    for_s: float
    severity: Severity
    summary: str
    description: str
    slo: str = "monitoring"


def health_groups(monitors: Sequence[Monitor], options: RuleOptions) -> list[Group]:
    """One group per model, one for the parts that serve all models, and the deadman."""
    interval = format_duration(options.evaluation_interval_s)
    groups: list[Group] = []
    for monitor in monitors:
        identity = {names.NAMESPACE: monitor.namespace, names.MODEL: monitor.model, names.OWNER: monitor.owner}
        rules = [_arrived(monitor, options)]
        rules += [_rule(health, identity, options) for health in _of_model(monitor, options)]
        name = f"driftline-health-{monitor.namespace}-{monitor.model}"
        groups.append({"name": name, "interval": interval, "rules": rules})
    platform = {names.NAMESPACE: "", names.MODEL: "", names.OWNER: options.platform_owner}
    shared = [_rule(health, platform, options) for health in _of_platform(options)]
    groups.append({"name": "driftline-health-platform", "interval": interval, "rules": [*shared, _deadman(options)]})
    return groups


def _of_model(monitor: Monitor, options: RuleOptions) -> Iterable[Health]:
    yield _metrics_absent(monitor, options)
    yield _detectors_stale(monitor, options)
    yield _collector_stalled(monitor, options)
    yield _collector_stale(monitor, options)
    yield _events_lost(monitor, options)
    yield _capture_dropping(monitor, options)
    if any(slo.kind == "correctness" for slo in monitor.slos.objectives):
        yield _labels_late(monitor, options)
    if monitor.detectors.accuracy.test is not None:
        yield _accuracy_fell(monitor)


def _of_platform(options: RuleOptions) -> Iterable[Health]:
    yield _collector_lagging(options)
    yield _collector_stuck()
    yield _spool_filling()
    yield _spool_refused(options)
    yield _sink_down(options)
    yield _reload_refused(options)


# --- one model ----------------------------------------------------------------------------------------------------
def _metrics_absent(monitor: Monitor, options: RuleOptions) -> Health:
    look_s = options.seen(ABSENT_AFTER_S)
    return Health(
        rule_names.ALERT_METRICS_ABSENT,
        f"absent({_selector(monitor, names.SIDECAR_REQUESTS).promql()})",
        look_s,
        "ticket",
        f"{monitor.model}: no request metrics for {format_duration(look_s)}",
        "Nothing was scraped, the model label changed, or the model had no request since its sidecar started. "
        "Until this is over, no objective of this model can fire.",
    )


def _detectors_stale(monitor: Monitor, options: RuleOptions) -> Health:
    look_s = options.worked(STALE_AFTER_S)
    ran = _selector(monitor, names.DETECTORS_LAST_RUN).promql(options.real(look_s))
    return Health(
        rule_names.ALERT_DETECTORS_STALE,
        f"max(changes({ran})) == 0\nor\nabsent_over_time({ran})",
        options.seen(STALE_AFTER_S / 4),  # a detector process that has just started has not had the time to look twice
        "ticket",
        f"{monitor.model}: its windows have not been looked at for {format_duration(look_s)}",
        "The detectors are not running, cannot reach the store, or are not scraped; drift goes unseen meanwhile.",
    )


def _collector_stalled(monitor: Monitor, options: RuleOptions) -> Health:
    look_s = options.worked(STALLED_AFTER_S)
    span = options.real(look_s)
    logged = _selector(monitor, names.CAPTURE_EVENTS, Matcher(names.OUTCOME, "=", names.OUTCOME_LOGGED)).promql(span)
    read = _selector(monitor, names.COLLECTOR_EVENTS).promql(span)
    return Health(
        rule_names.ALERT_COLLECTOR_STALLED,
        f"sum(increase({logged})) > 0\nunless\nsum(increase({read})) > 0",
        options.seen(STALLED_AFTER_S / 3),
        "page" if any(slo.severity == "page" for slo in monitor.slos.objectives) else "ticket",
        f"{monitor.model}: inferences are logged but none arrives in the store",
        f"The sidecar logged inferences over the last {format_duration(look_s)} and the collector read none: "
        "drift, quality and correctness are blind. Nothing is lost while the spool or the topic holds the events.",
    )


def _collector_stale(monitor: Monitor, options: RuleOptions) -> Health:
    look_s = options.worked(STALE_AFTER_S)
    span = options.real(look_s)
    logged = _selector(monitor, names.CAPTURE_EVENTS, Matcher(names.OUTCOME, "=", names.OUTCOME_LOGGED)).promql(span)
    # The age is the collector's own figure, on the monitors' clock, as this threshold is.
    fresh = _selector(monitor, names.COLLECTOR_FRESHNESS).promql()
    return Health(
        rule_names.ALERT_COLLECTOR_STALE,
        f"min({fresh}) > {look_s:g}\nand\nsum(increase({logged})) > 0",
        options.seen(STALE_AFTER_S / 4),
        "ticket",
        f"{monitor.model}: the newest stored event is older than {format_duration(look_s)}",
        "Inferences are logged, and what the store has of them is old: windows close without them and are judged late.",
    )


def _arrived(monitor: Monitor, options: RuleOptions) -> Rule:
    """What arrived out of what was logged. Events on their way make it less than 1, those of an outage more than 1."""
    span = options.real(options.worked(ARRIVES_WITHIN_S))
    logged = _selector(monitor, names.CAPTURE_EVENTS, Matcher(names.OUTCOME, "=", names.OUTCOME_LOGGED)).promql(span)
    first = f"{names.OUTCOME_STORED}|{names.OUTCOME_DEAD_LETTER}|{names.OUTCOME_ERASED}"
    read = _selector(monitor, names.COLLECTOR_EVENTS, Matcher(names.OUTCOME, "=~", first)).promql(span)
    stored_later = Matcher(names.OUTCOME, "=", names.OUTCOME_STORED)
    replayed = _selector(monitor, names.DEAD_LETTER_REPLAYS, stored_later).promql(span)
    # Of several collectors one at a time shows the store's own counters: they add up.
    stored, again = f"sum(increase({read}))", f"sum(increase({replayed}))"
    arrived = f"({stored}\n-\n({again} or vector(0)))"
    return {
        "record": rule_names.RULE_ARRIVED,
        "expr": f"{arrived}\n/\n(sum(increase({logged})) > 0)",
        "labels": {names.NAMESPACE: monitor.namespace, names.MODEL: monitor.model},
    }


def _events_lost(monitor: Monitor, options: RuleOptions) -> Health:
    look_s = options.worked(ARRIVES_WITHIN_S)
    arrived = Selector(rule_names.RULE_ARRIVED, _identity(monitor)).promql()
    return Health(
        rule_names.ALERT_EVENTS_LOST,
        f"{arrived} < {ARRIVED_SHARE}",
        options.seen(ARRIVES_WITHIN_S / 6),
        "ticket",
        f"{monitor.model}: less than {ARRIVED_SHARE * 100:g} % of what was logged has arrived in the store",
        f"Over the last {format_duration(look_s)} the collector read fewer events than the sidecars logged: they are "
        "on their way, lost between, or of no model that could be read.",
    )


def _capture_dropping(monitor: Monitor, options: RuleOptions) -> Health:
    look_s = options.seen(STALLED_AFTER_S)
    span = options.real(look_s)
    dropped = _selector(monitor, names.CAPTURE_EVENTS, Matcher(names.OUTCOME, "=", names.OUTCOME_DROPPED)).promql(span)
    everything = _selector(monitor, names.CAPTURE_EVENTS).promql(span)
    return Health(
        rule_names.ALERT_CAPTURE_DROPPING,
        f"sum(increase({dropped}))\n/\n(sum(increase({everything})) > 0)\n> {DROPPING_SHARE}",
        0.0,
        "ticket",
        f"{monitor.model}: more than {percent(DROPPING_SHARE)} % of the inferences are not logged",
        "The sidecar answers requests but drops their events; what is logged may be a skewed sample.",
    )


def _labels_late(monitor: Monitor, options: RuleOptions) -> Health:
    delay_s = options.seen(monitor.labels.expected_delay)
    span, earlier = options.real(delay_s), f"offset {options.real(delay_s)}"
    rows = _selector(monitor, names.COLLECTOR_ROWS).promql(span)
    labels = Selector(names.LABELS.name, _identity(monitor)).promql(span)
    return Health(
        rule_names.ALERT_LABELS_LATE,
        f"sum(increase({rows} {earlier})) > {monitor.windows.minimum_rows}\nunless\nsum(increase({labels})) > 0",
        delay_s / 4,
        "ticket",
        f"{monitor.model}: no label has come for {format_duration(delay_s)}",
        f"There were predictions, and their labels are expected within {format_duration(delay_s)}. Correctness is not "
        "measured until labels come again.",
    )


def _accuracy_fell(monitor: Monitor) -> Health:
    """The one alert here that is about the model: its budget is kept by the test itself, not by a rate of burn."""
    spec = monitor.detectors.accuracy
    alarm = _selector(monitor, names.ACCURACY_ALARM).promql()
    by = ", ".join((*names.STREAM[2:], names.SEGMENT))
    against = "what the reference shows" if spec.floor is None else f"the {spec.floor:g} that it must keep"
    return Health(
        rule_names.ALERT_ACCURACY_FELL,
        f"max by ({by}) ({alarm}) > 0",
        0.0,
        spec.severity,
        f"{monitor.model}: accuracy is below {against}",
        f"Over all windows whose labels are complete. Without a loss at most {spec.false_pages} is expected to alarm. "
        "The newest window's page says since when.",
        slo="correctness",
    )


# --- the parts that serve all models ------------------------------------------------------------------------------
def _collector_lagging(options: RuleOptions) -> Health:
    look_s = options.seen(LAG_GROWS_FOR_S)
    lag = f"{names.COLLECTOR_LAG.name}[{options.real(look_s)}]"
    return Health(
        rule_names.ALERT_COLLECTOR_LAGGING,
        f"max by ({names.PARTITION}) (min_over_time({lag})) > 0\nand\nmax by ({names.PARTITION}) (deriv({lag})) > 0",
        options.seen(LAG_GROWS_FOR_S / 2),
        "ticket",
        "The collector falls behind on {{ $labels." + names.PARTITION + " }}",
        f"Its distance to the end of the stream has not been zero and has grown over {format_duration(look_s)}"
        "; results and pages come later and later.",
    )


def _collector_stuck() -> Health:
    return Health(
        rule_names.ALERT_COLLECTOR_STUCK,
        f"{names.COLLECTOR_STUCK.name} == 1\nor\nmax by (instance) ({names.COLLECTOR_HELD.name}) == 1\nor\n"
        f"max by (instance) ({names.COLLECTOR_RESTING.name}) > {RESTS_FOR_S:g}",
        MINUTE_S,
        "ticket",
        "The consumer of {{ $labels.instance }} is stuck",
        "A step of it does not end, its source gives nothing although there is more, a Kafka topic was made anew and "
        "waits for somebody, or nobody reads partitions that other collectors had. Its /healthz names the step, or the "
        "topic or partitions and what to do; an idle consumer and one whose database is away are none of these.",
    )


def _spool_filling() -> Health:
    fill = f"{names.SPOOL_BYTES.name}\n/\n({names.SPOOL_LIMIT_BYTES.name} > 0)"
    return Health(
        rule_names.ALERT_SPOOL_FILLING,
        f"{fill}\n> {SPOOL_FULL_SHARE}",
        5 * MINUTE_S,
        "ticket",
        "The spool of {{ $labels.instance }} is over " + f"{SPOOL_FULL_SHARE * 100:.0f} % full",
        "Events are written faster than they are delivered. When it is full, the sidecar drops events (and counts "
        "them); inference goes on as before.",
    )


def _spool_refused(options: RuleOptions) -> Health:
    look_s = options.seen(REFUSED_WITHIN_S)
    return Health(
        rule_names.ALERT_SPOOL_REFUSED,
        f"increase({names.SPOOL_WRITE_ERRORS.name}[{options.real(look_s)}]) > 0",
        0.0,  # what was refused is lost: there is nothing to wait for
        "ticket",
        "The disk refuses the spool of {{ $labels.instance }}",
        f"Writes to the spool failed within the last {format_duration(look_s)}; their events are dropped and counted "
        "(disk_error). Inference goes on as before, and so does writing as soon as the disk takes it.",
    )


def _sink_down(options: RuleOptions) -> Health:
    down_s = options.worked(DOWN_FOR_S)
    return Health(
        rule_names.ALERT_SINK_DOWN,
        f"{names.SHIPPER_SINK_UP.name} == 0",
        down_s,
        "ticket",
        "The sink {{ $labels." + names.SINK + " }} of {{ $labels.instance }} has been down for "
        f"{format_duration(down_s)}",
        "Events wait for it in the spool and are delivered when it is back. Other sinks go on; when the spool is full, "
        "events are lost.",
    )


def _reload_refused(options: RuleOptions) -> Health:
    return Health(
        rule_names.ALERT_RELOAD_REFUSED,
        f"{names.CONFIG_LAST_RELOAD_SUCCESSFUL.name} == 0",
        options.seen(DOWN_FOR_S),
        "ticket",
        "{{ $labels.instance }} refused its newest configuration",
        "The old configuration stays in force, whole. What was meant to change (a rate, a rule of redaction, a sink) "
        "has not, and the next start will fail with the same faults.",
    )


def _deadman(options: RuleOptions) -> Rule:
    health = Health(
        rule_names.ALERT_DEADMAN,
        "vector(1)",
        0.0,
        "ticket",
        "Always firing: whoever receives this must raise the alarm when it stops coming",
        "It proves that Prometheus evaluates, Alertmanager routes and the network carries.",
    )
    platform = {names.NAMESPACE: "", names.MODEL: "", names.OWNER: options.platform_owner}
    rule = _rule(health, platform, options)
    rule["labels"][names.SEVERITY] = names.SEVERITY_HEARTBEAT
    return rule


# --- helpers ------------------------------------------------------------------------------------------------------
def _identity(monitor: Monitor) -> tuple[Matcher, ...]:
    return (Matcher(names.NAMESPACE, "=", monitor.namespace), Matcher(names.MODEL, "=", monitor.model))


def _selector(monitor: Monitor, metric: names.Metric, *more: Matcher) -> Selector:
    return Selector(metric.name, (*_identity(monitor), *more))


def _rule(health: Health, identity: dict[str, str], options: RuleOptions) -> Rule:
    labels = {
        names.SEVERITY: health.severity,
        names.SLO: health.slo,
        rule_names.CONCERN: rule_names.concern_of(health.slo),
    }
    labels |= {label: template_safe(value) for label, value in identity.items() if value}
    rule: Rule = {"alert": health.alert, "expr": health.expr}
    if health.for_s > 0:
        rule["for"] = options.real(health.for_s)
    annotations = {
        "summary": health.summary,
        "description": health.description,
        "dashboard_url": options.external_url,
        "runbook_url": options.runbook_of(health.alert),
    }
    return {**rule, "labels": labels, "annotations": annotations}
