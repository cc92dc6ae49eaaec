"""The page desk: Alertmanager's webhook becomes pages with evidence, one per incident however often it is sent."""

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from dashboards import incidents
from dashboards.ports import Evidence, PageStore, ParseWebhook
from driftline import names, rule_names
from driftline.clock import Clock
from driftline.errors import DriftlineError
from driftline.monitors import Monitor
from driftline.results import Alert, Page

_UNKNOWN = "unknown"
#: Among so many pages that had news last, the incident of an alert is looked for.
_LOOKED_THROUGH = 200


class PageDesk:
    """Takes webhooks, keeps pages, counts them.

    The counter's labels come from outside: what names no known monitor counts as ``unknown``, so that a stray sender
    cannot make series without end.
    """

    def __init__(
        self,
        pages: PageStore,
        evidence: Evidence,
        parse_webhook: ParseWebhook,
        monitors: Mapping[str, Monitor],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._pages, self._evidence, self._parse = pages, evidence, parse_webhook
        self._monitors, self._clock = monitors, clock
        self._one_at_a_time = threading.Lock()
        self.last_heartbeat_s: float | None = None
        metric = names.PAGES_RECEIVED
        self._received = Counter(metric.name, metric.help, metric.labels, registry=registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        # Prometheus cannot see a counter's first rise unless it has seen the counter at zero.
        for monitor in self._monitors.values():
            for slo in monitor.slos.objectives:
                for severity in (names.SEVERITY_PAGE, names.SEVERITY_TICKET):
                    self._received.labels(monitor.namespace, monitor.model, slo.kind, severity)

    def receive(self, body: dict[str, Any]) -> Sequence[Page]:
        """Keep the pages of a webhook message; raises what ``parse_webhook`` raises on a bad one.

        A store that cannot be reached raises too, so that Alertmanager sends the message again.
        """
        found: dict[str, Page] = {}
        with self._one_at_a_time:
            for alert in self._parse(body):
                if alert.labels.get(names.SEVERITY) == names.SEVERITY_HEARTBEAT:
                    self.last_heartbeat_s = self._clock()
                    continue
                page = self._receive_one(alert)
                found[page.id] = page
            if incidents.is_over(body):
                found = {name: self._close(page) for name, page in found.items()}
        return list(found.values())

    def _receive_one(self, alert: Alert) -> Page:
        known = self._incident_of(alert)
        if known is None:
            page = dataclasses.replace(self._build(alert, None), id=alert.page_id, alert=alert)
            self._pages.save_page(page)
            self._count(alert)
            return page
        page = incidents.with_alert(known, alert)
        if page == known:
            return known
        if len(page.alerts) > len(known.alerts):
            page = incidents.with_evidence(page, self._build(alert, incidents.bad_since(known)))
            page = dataclasses.replace(page, received_at_s=self._clock())
        self._pages.save_page(page)
        if incidents.severity_of(page) != incidents.severity_of(known):
            self._count(alert)
        return page

    def _incident_of(self, alert: Alert) -> Page | None:
        """The page that this alert began, or joins."""
        page = self._pages.page(alert.page_id)
        return page or incidents.joined(alert, self._pages.pages(_LOOKED_THROUGH))

    def _close(self, page: Page) -> Page:
        """What a page silenced meanwhile was over without a word: nothing of the incident fires any more."""
        closed = incidents.closed(page)
        if closed != page:
            self._pages.save_page(closed)
        return closed

    def _build(self, alert: Alert, since_s: float | None) -> Page:
        try:
            return self._evidence(alert, since_s)
        except (DriftlineError, LookupError, ValueError, ArithmeticError) as error:
            # A page without evidence is better than no page.
            told = alert.annotations.get("summary", "An alert fires")
            return Page(
                id=alert.page_id,
                alert=alert,
                received_at_s=self._clock(),
                summary=f"{told} (its evidence could not be read: {error})",
                stream=None,
            )

    def _count(self, alert: Alert) -> None:
        namespace, model = alert.labels.get(names.NAMESPACE, ""), alert.labels.get(names.MODEL, "")
        if f"{namespace}/{model}" not in self._monitors:
            namespace = model = _UNKNOWN
        slo = alert.labels.get(names.SLO, "none")
        slo = slo if slo in rule_names.ALERT_OF_KIND or slo == "none" else _UNKNOWN
        severity = alert.labels.get(names.SEVERITY, _UNKNOWN)
        severity = severity if severity in {names.SEVERITY_PAGE, names.SEVERITY_TICKET} else _UNKNOWN
        self._received.labels(namespace, model, slo, severity).inc()
