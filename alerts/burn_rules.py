"""The rules of one objective, in three steps: what happened per window, where the budget stands, whom to call.

The first and the last stand in one group, because the rules of a group run one after the other at one time: an alert
never reads a ratio of the evaluation before. The budget over the whole period is costly to read and slow to change, so
it has a group of its own that runs rarely.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from alerts.burn import WILSON_Z, Window, windows
from alerts.options import RuleOptions
from alerts.selectors import quote
from alerts.slo import Objective
from alerts.texts import VALUE, burn_annotations, burn_labels, template_safe
from driftline import names, rule_names
from driftline.durations import format_duration

Rule = dict[str, Any]
Group = dict[str, Any]

#: The budget over the period is read this many times per period (about every hour of 30 days).
BUDGET_READINGS = 720


def burn_groups(objective: Objective, options: RuleOptions) -> list[Group]:
    """The two rule groups of one objective."""
    rows = windows(objective)
    sli = [rule for window_s in _spans(rows) for rule in _counts_and_ratio(objective, window_s, options)]
    sli += [_lower_bound(objective, long_s) for long_s in sorted({row.long_s for row in rows})]
    meta = [*_constants(objective), _burn_rate(objective, rows[0].short_s)]
    alerts = [burn_alert(objective, row, options) for row in rows]
    budget = [*_counts_and_ratio(objective, objective.period_s, options), _budget_remaining(objective)]
    budget_interval_s = max(options.evaluation_interval_s, objective.period_s / BUDGET_READINGS / options.clock_speed)
    return [
        {
            "name": f"driftline-slo-{objective.id}",
            "interval": format_duration(options.evaluation_interval_s),
            "rules": sli + meta + alerts,
        },
        {
            "name": f"driftline-budget-{objective.id}",
            # Below five minutes, so that no reading goes stale before the next.
            "interval": format_duration(min(budget_interval_s, 240.0)),
            "rules": budget,
        },
    ]


def _spans(rows: Iterable[Window]) -> list[float]:
    return sorted({span for row in rows for span in (row.short_s, row.long_s)})


# --- step 1: what happened ----------------------------------------------------------------------------------------
def _counts_and_ratio(objective: Objective, window_s: float, options: RuleOptions) -> list[Rule]:
    span, name = options.real(window_s), format_duration(window_s)
    total = f"sum(increase({objective.total.promql(span)}))"
    counted = f"sum(increase({objective.counted.promql(span)}))"
    # No bad event yet means no series: that is none bad, as long as there are events at all.
    bad = f"{counted}\nor\n0 * {total}"
    if objective.counts == "good":
        bad = f"clamp_min({total} - {counted}, 0)"
    bad_series = _series(objective, f"{rule_names.RULE_BAD_INCREASE}{name}")
    total_series = _series(objective, f"{rule_names.RULE_TOTAL_INCREASE}{name}")
    return [
        _record(objective, f"{rule_names.RULE_TOTAL_INCREASE}{name}", total),
        _record(objective, f"{rule_names.RULE_BAD_INCREASE}{name}", bad),
        _record(objective, f"{rule_names.RULE_BAD_RATIO}{name}", f"{bad_series}\n/\n({total_series} > 0)"),
    ]


def _lower_bound(objective: Objective, window_s: float) -> Rule:
    """The traffic guard, ``alerts.burn.proven_ratio`` in PromQL."""
    name = format_duration(window_s)
    bad = f"clamp_min({_series(objective, rule_names.RULE_BAD_INCREASE + name)} - 1, 0)"
    total = _series(objective, rule_names.RULE_TOTAL_INCREASE + name)
    z = Decimal(str(WILSON_Z))
    spread = f"sqrt(\n  {bad}\n  * clamp_min({total} - {bad}, 0)\n  / ({total} > 0)\n  + {_decimal(z * z / 4)}\n)"
    expr = f"({bad} + {_decimal(z * z / 2)} - {_decimal(z)} * {spread})\n/\n({total} + {_decimal(z * z)})"
    return _record(objective, f"{rule_names.RULE_BAD_LOWER}{name}", expr)


# --- step 2: where the budget stands ------------------------------------------------------------------------------
def _constants(objective: Objective) -> list[Rule]:
    constants = {
        rule_names.RULE_OBJECTIVE: objective.target,
        rule_names.RULE_ERROR_BUDGET: objective.budget,
        rule_names.RULE_PERIOD: objective.period_s,
    }
    return [_record(objective, name, f"vector({decimal(value)})") for name, value in constants.items()]


def _burn_rate(objective: Objective, window_s: float) -> Rule:
    ratio = _series(objective, f"{rule_names.RULE_BAD_RATIO}{format_duration(window_s)}")
    return _record(objective, rule_names.RULE_BURN_RATE, f"{ratio} / {decimal(objective.budget)}")


def _budget_remaining(objective: Objective) -> Rule:
    ratio = _series(objective, f"{rule_names.RULE_BAD_RATIO}{format_duration(objective.period_s)}")
    return _record(objective, rule_names.RULE_BUDGET_REMAINING, f"1 - {ratio} / {decimal(objective.budget)}")


# --- step 3: whom to call -----------------------------------------------------------------------------------------
def burn_alert(objective: Objective, window: Window, options: RuleOptions) -> Rule:
    """The alerting rule of one window; its value is the percentage of bad events in the long window."""
    long, short = format_duration(window.long_s), format_duration(window.short_s)
    threshold = decimal(window.threshold)
    expr = (
        f"100 * {_series(objective, rule_names.RULE_BAD_RATIO + long)}\n"
        f"and\n{_series(objective, rule_names.RULE_BAD_LOWER + long)} > {threshold}\n"
        f"and\n{_series(objective, rule_names.RULE_BAD_RATIO + short)} > {threshold}"
    )
    labels = burn_labels(objective, window)
    labels[names.OWNER] = template_safe(labels[names.OWNER])
    annotations = burn_annotations(objective, window, options, VALUE)
    annotations["runbook_url"] = template_safe(annotations["runbook_url"])
    return {
        "alert": rule_names.ALERT_OF_KIND[objective.kind],
        "expr": expr,
        "keep_firing_for": options.real(window.kept_s),
        "labels": labels,
        "annotations": annotations,
    }


# --- helpers ------------------------------------------------------------------------------------------------------
def decimal(value: float) -> str:
    """A number as an exact decimal without an exponent, to twelve digits.

    >>> decimal(1 - 0.999), decimal(0.00000025), decimal(2592000.0)
    ('0.001', '0.00000025', '2592000')
    """
    return _decimal(Decimal(f"{value:.12g}"))


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _record(objective: Objective, name: str, expr: str) -> Rule:
    return {"record": name, "expr": expr, "labels": _identity(objective)}


def _identity(objective: Objective) -> dict[str, str]:
    return {names.SLO: objective.kind, names.NAMESPACE: objective.namespace, names.MODEL: objective.model}


def _series(objective: Objective, name: str) -> str:
    inside = ",".join(f"{label}={quote(value)}" for label, value in _identity(objective).items())
    return f"{name}{{{inside}}}"
