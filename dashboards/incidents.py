"""Incidents: which alerts are one page, and what a page is once another alert has joined it.

Alerts of one model and one concern are one incident while any of them fires, and for a day after: what begins again so
soon is the same trouble. Alerts that name no concern (of rules that somebody wrote) are each an incident of their own.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from driftline import names, rule_names
from driftline.results import Alert, Page

DAY_S = 86400.0
#: An alert that begins within this time after an incident is a part of it.
SAME_INCIDENT_S = DAY_S
#: Alerts beside the gravest that a page keeps, the first and the newest: what comes and goes for weeks stays readable.
MAXIMUM_FOLLOW_UPS = 50
#: "page" before "ticket", and before whatever else somebody's own rules say.
_GRAVITY = {names.SEVERITY_PAGE: 0, names.SEVERITY_TICKET: 1}


def key_of(alert: Alert) -> tuple[str, ...]:
    """What tells the alert's incident from others; empty where it is one of its own.

    >>> key_of(Alert("firing", {"model": "m", "concern": "quality"}, {}, 0.0, None, "f"))
    ('', 'm', 'quality')
    """
    if not alert.labels.get(rule_names.CONCERN):
        return ()
    return tuple(alert.labels.get(label, "") for label in rule_names.INCIDENT)


def told(notices: Iterable[Alert]) -> list[Page]:
    """The pages that the page desk would have made of these notices, in the order in which the first of each came.

    They hold no evidence; their words are those of the alert that began them.

    >>> drift = Alert("firing", {"model": "m", "concern": "quality", "slo": "drift"}, {}, 0.0, None, "d")
    >>> wrong = Alert("firing", {"model": "m", "concern": "quality", "slo": "correctness"}, {}, 60.0, None, "c")
    >>> [[alert.labels["slo"] for alert in page.alerts] for page in told([drift, wrong])]
    [['drift', 'correctness']]
    """
    pages: list[Page] = []
    for alert in notices:
        known = next((page for page in pages if page.id == alert.page_id), None) or joined(alert, reversed(pages))
        if known is None:
            summary = alert.annotations.get("summary", "")
            pages.append(Page(alert.page_id, alert, alert.starts_at_s, summary, None))
        else:
            pages[pages.index(known)] = with_alert(known, alert)
    return pages


def joined(alert: Alert, pages: Iterable[Page]) -> Page | None:
    """The page that an alert joins, of these with the newest first; None where it begins an incident."""
    return next((page for page in pages if belongs(alert, page)), None) if key_of(alert) else None


def belongs(alert: Alert, page: Page) -> bool:
    """Whether an alert is a part of a page's incident."""
    if key_of(alert) != key_of(page.alert):
        return False
    ends_at_s = page.ends_at_s
    in_time = ends_at_s is None or alert.starts_at_s <= ends_at_s + SAME_INCIDENT_S
    over_before = alert.ends_at_s is not None and alert.ends_at_s < page.starts_at_s - SAME_INCIDENT_S
    return in_time and not over_before


def with_alert(page: Page, alert: Alert) -> Page:
    """The page once an alert was told: another one of the incident, or what is new of one of its own."""
    known = next((each for each in page.alerts if each.page_id == alert.page_id), None)
    if known is not None and (known == alert or _was_resolved(known)):
        return page  # a late repeat of "firing" must not reopen what is resolved already
    return _of(page, [alert, *(each for each in page.alerts if each != known)])


def with_evidence(page: Page, built: Page) -> Page:
    """The page with the evidence of its newest alert, whose words stand first where it is as grave as the gravest.

    What could not be read again stays as it was.
    """
    if built.stream is None:
        return page
    speaks = built.alert.labels.get(names.SEVERITY) == page.alert.labels.get(names.SEVERITY)
    return dataclasses.replace(
        page,
        summary=built.summary if speaks else page.summary,
        runbook=built.runbook if speaks else page.runbook,
        stream=built.stream,
        drifted=built.drifted or page.drifted,
        performance=built.performance or page.performance,
        since_s=page.since_s if built.since_s is None else min(built.since_s, bad_since(page)),
        newest_since_s=built.since_s,
        samples=built.samples or page.samples,
    )


def bad_since(page: Page) -> float:
    """Since when an incident is known to be bad: by its evidence, and no later than its first alert began."""
    return page.starts_at_s if page.since_s is None else min(page.since_s, page.starts_at_s)


def closed(page: Page) -> Page:
    """The page with all of its alerts resolved; when is unknown for those without a resolved notice."""
    return _of(page, [dataclasses.replace(each, status="resolved") for each in page.alerts])


def severity_of(page: Page) -> str:
    """The gravest severity of what fires; of all, once the incident is over."""
    return _gravest([alert for alert in page.alerts if alert.status == "firing"] or page.alerts)


def gravest_first(pages: Iterable[Page]) -> tuple[Page, ...]:
    """Pages before tickets; else in the order given."""
    return tuple(sorted(pages, key=lambda page: _rank(severity_of(page))))


def is_over(message: Mapping[str, Any]) -> bool:
    """Whether a webhook message says of a whole incident that it is over: nothing that it would hide fires either."""
    group = message.get("groupLabels")
    whole = isinstance(group, Mapping) and set(group) == set(rule_names.INCIDENT) and not message.get("truncatedAlerts")
    return whole and message.get("status") == "resolved"


def _of(page: Page, alerts: list[Alert]) -> Page:
    ordered = sorted(alerts, key=lambda alert: alert.starts_at_s)
    lead = next(alert for alert in ordered if alert.labels.get(names.SEVERITY, "") == _gravest(ordered))
    others = tuple(alert for alert in ordered if alert != lead)
    # The first is kept too: with it, since when there is trouble.
    kept = (
        others[-MAXIMUM_FOLLOW_UPS:]
        if len(others) <= MAXIMUM_FOLLOW_UPS
        else (others[0], *others[1 - MAXIMUM_FOLLOW_UPS :])
    )
    return dataclasses.replace(page, alert=lead, follow_ups=kept)


def _gravest(alerts: Iterable[Alert]) -> str:
    severities = [alert.labels.get(names.SEVERITY, "") for alert in alerts]
    return min(severities, key=_rank)


def _rank(severity: str) -> int:
    return _GRAVITY.get(severity, len(_GRAVITY))


def _was_resolved(alert: Alert) -> bool:
    """Whether its end was told; one that was concluded (:func:`closed`) may have been silenced otherwise."""
    return alert.status == "resolved" and alert.ends_at_s is not None
