"""Pages and tickets that somebody would have got of the past: the notices of the replayed alerts, taken together by the
page desk's own rules.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dashboards import incidents
from detectors.offline.replaying import Replayed
from driftline import names
from driftline.cli.backtest_alerts import replayed_notices
from driftline.monitors import Monitor
from driftline.results import Alert, Page

#: Of a drift alert, so many of the newest drifted window's columns are its evidence.
_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that would have been told: as told first, until when, how long after the change, and on what evidence.

    ``ended_at_s`` is None where it still fired at the end; ``delay_s`` where it was told before the change, or none is
    known.
    """

    alert: Alert
    ended_at_s: float | None
    delay_s: float | None
    evidence: tuple[str, ...]

    @property
    def severity(self) -> str:
        """``page``, which wakes the on-call person, or ``ticket``."""
        return self.alert.labels[names.SEVERITY]


@dataclass(frozen=True, slots=True)
class Incident:
    """One page, or one ticket where none of its alerts is a page: what is told under one address of the page desk.

    ``lead``: the gravest alert, the first of those; ``alerts``: all that a page keeps, in the order in which they
    began; ``times``: how often they fired, with nothing in between; ``ended_at_s``: None where it was open at the end.
    """

    lead: Fired
    alerts: tuple[Fired, ...]
    ended_at_s: float | None
    times: int

    @property
    def severity(self) -> str:
        """That of its gravest alert."""
        return self.lead.severity

    @property
    def starts_at_s(self) -> float:
        """When its first alert was told."""
        return self.alerts[0].alert.starts_at_s

    @property
    def delay_s(self) -> float | None:
        """From the change to its first alert; None where it began before the change, or none is known."""
        return self.alerts[0].delay_s

    @property
    def evidence(self) -> tuple[str, ...]:
        """What the first alert that knows any says of the columns."""
        return next((fired.evidence for fired in (self.lead, *self.alerts) if fired.evidence), ())


def replayed_incidents(monitor: Monitor, windows: Sequence[Replayed], quiet_until_s: float) -> tuple[Incident, ...]:
    """Every incident that the windows, sorted by their starts, would have been; changed from ``quiet_until_s`` on."""
    notices = replayed_notices(monitor, windows)
    first: dict[tuple[str, float], Alert] = {}
    for notice in notices:
        first.setdefault((notice.fingerprint, notice.starts_at_s), notice)

    def fired(alert: Alert) -> Fired:
        delay_s = alert.starts_at_s - quiet_until_s if alert.starts_at_s >= quiet_until_s else None
        told = first[alert.fingerprint, alert.starts_at_s]
        return Fired(told, alert.ends_at_s, delay_s, _evidence(alert, windows, monitor.windows.lateness))

    return tuple(
        Incident(
            lead=fired(page.alert),
            alerts=tuple(fired(alert) for alert in page.alerts),
            ended_at_s=page.ends_at_s,
            times=sum(1 for _ in _stretches(page)),
        )
        for page in incidents.told(notices)
    )


def _evidence(alert: Alert, windows: Sequence[Replayed], late_s: float) -> tuple[str, ...]:
    """What the newest drifted window before an alert about drift said."""
    if alert.labels[names.SLO] != "drift":
        return ()
    known = [window for window in windows if window.key.end_s + late_s <= alert.starts_at_s and window.drifted]
    return tuple(result.reason for window in known[-1:] for result in window.drifted[:_COLUMNS])


def _stretches(page: Page) -> Iterator[float]:
    """The starts of the times in which some alert of an incident fired."""
    until_s = float("-inf")
    for alert in page.alerts:
        if alert.starts_at_s > until_s:
            yield alert.starts_at_s
        until_s = max(until_s, float("inf") if alert.ends_at_s is None else alert.ends_at_s)
