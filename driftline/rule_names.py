"""The names of what the generated rules record, and of the alerts that they fire; each is spelt here once."""

from driftline import names

# --- recorded by the generated rules ------------------------------------------------------------------------------
#: Each carries ``namespace``, ``model`` and ``slo`` (the objective's kind). The names of windows end the names of the
#: per-window series, as the monitor's clock counts them: ``driftline:slo_bad:increase1h``.
RULE_BAD_INCREASE = "driftline:slo_bad:increase"
RULE_TOTAL_INCREASE = "driftline:slo_total:increase"
RULE_BAD_RATIO = "driftline:slo_bad:ratio"
RULE_BAD_LOWER = "driftline:slo_bad:ratio_lower"  #: lower Wilson bound of the bad ratio
RULE_OBJECTIVE = "driftline:slo_objective:ratio"
RULE_ERROR_BUDGET = "driftline:slo_error_budget:ratio"
RULE_PERIOD = "driftline:slo_period:seconds"
#: Per model: events that arrived in the store out of those that sidecars logged.
RULE_ARRIVED = "driftline:arrived_events:ratio"
RULE_BURN_RATE = "driftline:slo_burn:rate"  #: 1 spends the budget exactly over the period
RULE_BUDGET_REMAINING = "driftline:slo_budget_remaining:ratio"  #: 1 untouched, 0 spent, below 0 overspent

# --- alerts -------------------------------------------------------------------------------------------------------
#: The burn-rate alert of each kind of objective.
ALERT_OF_KIND = {
    "availability": "DriftlineAvailabilityBurn",
    "latency": "DriftlineLatencyBurn",
    "capture": "DriftlineCaptureBurn",
    "data_quality": "DriftlineDataQualityBurn",
    "drift": "DriftlineDriftBurn",
    "correctness": "DriftlineCorrectnessBurn",
}
#: The label of what an alert is about. Alerts of one model and one concern mostly have one cause: they are an incident.
CONCERN = "concern"
CONCERN_SERVING = "serving"
CONCERN_QUALITY = "quality"
CONCERN_MONITORING = "monitoring"
INCIDENT = (names.NAMESPACE, names.MODEL, CONCERN)  #: what tells one incident from another
#: The concern of an alert by its objective; others are about the monitoring.
CONCERN_OF_KIND = {
    "availability": CONCERN_SERVING,
    "latency": CONCERN_SERVING,
    "data_quality": CONCERN_QUALITY,
    "drift": CONCERN_QUALITY,
    "correctness": CONCERN_QUALITY,
}
ALERT_METRICS_ABSENT = "DriftlineMetricsAbsent"
ALERT_DETECTORS_STALE = "DriftlineDetectorsStale"
ALERT_COLLECTOR_STALLED = "DriftlineCollectorStalled"
ALERT_COLLECTOR_LAGGING = "DriftlineCollectorLagging"
ALERT_COLLECTOR_STUCK = "DriftlineCollectorStuck"
ALERT_COLLECTOR_STALE = "DriftlineCollectorStale"
ALERT_EVENTS_LOST = "DriftlineEventsLost"
ALERT_SPOOL_FILLING = "DriftlineSpoolFilling"
ALERT_SPOOL_REFUSED = "DriftlineSpoolRefused"
ALERT_SINK_DOWN = "DriftlineSinkDown"
ALERT_RELOAD_REFUSED = "DriftlineReloadRefused"
ALERT_CAPTURE_DROPPING = "DriftlineCaptureDropping"
ALERT_LABELS_LATE = "DriftlineLabelsLate"
ALERT_ACCURACY_FELL = "DriftlineAccuracyFell"
ALERT_DEADMAN = "DriftlineDeadman"


def concern_of(slo: str) -> str:
    """The concern of an alert with this label ``slo``.

    >>> concern_of("drift"), concern_of("capture"), concern_of("monitoring")
    ('quality', 'monitoring', 'monitoring')
    """
    return CONCERN_OF_KIND.get(slo, CONCERN_MONITORING)
