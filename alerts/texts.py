"""What a burn-rate alert says: its labels and sentences, the same from Prometheus and from the embedded evaluation.

Prometheus fills the number in from its template, the embedded evaluation from its own figure; everything else is fixed
when the rule is made. ``VALUE`` and ``format_value`` print a number alike (three significant digits).
"""

from alerts.burn import Window
from alerts.options import RuleOptions
from alerts.slo import Objective
from driftline import names, rule_names
from driftline.durations import format_duration

#: The percentage of bad events in the long window, as a Prometheus template prints it.
VALUE = '{{ printf "%.3g" $value }}'

_BAD = {
    "availability": "answers were server errors",
    "latency": "answers took longer than {detail}",
    "capture": "inferences were dropped instead of logged",
    "data_quality": "prediction rows broke the monitor's column rules",
    "drift": "judged windows were drifted",
    "correctness": "labelled predictions were wrong",
}
_OFF_BY = "labelled predictions were off by more than {detail}"


def format_value(percent: float) -> str:
    """A percentage as Go's ``%.3g`` prints it.

    >>> format_value(54.16), format_value(100.0), format_value(0.0144)
    ('54.2', '100', '0.0144')
    """
    return f"{percent:.3g}"


def percent(share: float) -> str:
    """A configured share as a percentage, with all of its digits.

    >>> percent(0.0005), percent(0.99995)
    ('0.05', '99.995')
    """
    return f"{share * 100:.6g}"


def bad_events(objective: Objective) -> str:
    """What the objective counts as bad, as the end of a sentence."""
    text = _OFF_BY if objective.kind == "correctness" and objective.detail else _BAD[objective.kind]
    return text.format(detail=objective.detail)


def burn_labels(objective: Objective, window: Window) -> dict[str, str]:
    """The labels of the alert, without its name."""
    return {
        names.SEVERITY: window.severity,
        names.SLO: objective.kind,
        rule_names.CONCERN: rule_names.concern_of(objective.kind),
        names.NAMESPACE: objective.namespace,
        names.MODEL: objective.model,
        names.OWNER: objective.owner,
        names.WINDOW: format_duration(window.long_s),
    }


def burn_annotations(objective: Objective, window: Window, options: RuleOptions, value: str) -> dict[str, str]:
    """The sentences and links of the alert; ``value`` is the percentage or its template."""
    long, short = format_duration(window.long_s), format_duration(window.short_s)
    period, bad = format_duration(objective.period_s), bad_events(objective)
    threshold, spent = (format_value(share * 100) for share in (window.threshold, window.share))
    alertname = rule_names.ALERT_OF_KIND[objective.kind]
    return {
        "summary": (
            f"{objective.model}: {value} % of {bad} over the last {long} "
            f"(objective: at most {percent(objective.budget)} %)"
        ),
        "description": (
            f"More than {threshold} % over the last {long} and still over the last {short}: at least "
            f"{window.factor:.3g} times what the objective of {percent(objective.target)} % over {period} allows. "
            f"Every {long} like this spends {spent} % of the error budget or more."
        ),
        "bad_percent": value,
        "budget_percent": percent(objective.budget),
        "bad_events": bad,
        "dashboard_url": f"{options.external_url}/models/{objective.namespace}/{objective.model}",
        "runbook_url": objective.runbook or options.runbook_of(alertname),
    }


def template_safe(text: str) -> str:
    """Text that Prometheus's templates give back as it is.

    >>> template_safe("team {{ x }}")
    'team {{"{{"}} x }}'
    """
    return text.replace("{{", '{{"{{"}}')
