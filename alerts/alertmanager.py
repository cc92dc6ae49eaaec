"""Alertmanager's configuration: who hears of what, how often, and which cause silences which symptom.

Alerts are grouped by model and concern (``driftline.rule_names.INCIDENT``), never by column or objective, so that one
incident is one notification, and what joins it later a follow-up. Every alert goes to the page desk, which adds the
evidence; routes to people follow the owner label. Valid for Alertmanager 0.25 and later.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alerts.selectors import quote
from driftline import names, rule_names
from driftline.durations import format_duration
from driftline.errors import SettingsError
from driftline.monitors import Monitor

Section = dict[str, Any]

PAGE_DESK = "page-desk"
HEARTBEAT = "heartbeat"
#: However fast the clock, notifications are not sent in shorter steps than this.
SHORTEST_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class AlertmanagerOptions:
    """Options of the generated configuration.

    ``page_desk_url``: the webhook of ``driftline dashboards serve``; ``page_desk_token_file``: where Alertmanager finds
    the token that it asks for, with the scope alerts:write, empty where it asks for none. ``heartbeat_url``: a service
    outside that raises the alarm when the deadman stops coming; without one the deadman is shown but sent nowhere.
    ``owner_webhooks``: owner to a webhook of that team's own; without one its people see alerts on the page desk only.
    ``desk_interval_s``: how soon the page desk hears of what changes in an incident. Waits are real seconds at clock
    speed 1 and shrink with ``clock_speed``, not below a second.
    """

    page_desk_url: str = f"http://127.0.0.1:9086{names.PAGE_DESK_PATH}"
    page_desk_token_file: str = ""
    heartbeat_url: str | None = None
    owner_webhooks: Mapping[str, str] = field(default_factory=dict)
    platform_owner: str = "platform"
    group_wait_s: float = 30.0
    group_interval_s: float = 300.0
    desk_interval_s: float = 30.0
    repeat_page_s: float = 4 * 3600.0
    repeat_ticket_s: float = 24 * 3600.0
    repeat_heartbeat_s: float = 300.0
    clock_speed: float = 1.0

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {getattr(self, name)!r}; it must be above zero"
            for name in self.__slots__
            if (name.endswith("_s") or name == "clock_speed") and not 0 < getattr(self, name) < float("inf")
        ]
        urls = [
            self.page_desk_url,
            *self.owner_webhooks.values(),
            *([self.heartbeat_url] if self.heartbeat_url else []),
        ]
        faults += [f"'{url}' is not an http:// or https:// address" for url in urls if not _is_url(url)]
        if faults:
            raise SettingsError("alertmanager options", faults)

    def wait(self, seconds: float) -> str:
        """A wait on the options' clock, as Alertmanager reads it."""
        return format_duration(max(SHORTEST_WAIT_S, seconds / self.clock_speed))


def build_config(monitors: Sequence[Monitor], options: AlertmanagerOptions | None = None) -> Section:
    """The content of ``alertmanager.yml`` for the owners of these monitors.

    Raises SettingsError when two owners would share a receiver's name.
    """
    options = options or AlertmanagerOptions()
    owners = sorted({monitor.owner for monitor in monitors} | {options.platform_owner})
    receivers = {owner: f"owner-{_slug(owner)}" for owner in owners}
    _refuse_shared(receivers)
    return {
        "route": _routes(receivers, options),
        "inhibit_rules": inhibitions(),
        "receivers": [
            {"name": PAGE_DESK, "webhook_configs": [_page_desk(options)]},
            {"name": HEARTBEAT, **_optional_webhook(options.heartbeat_url, resolved=False)},
            *(
                {"name": name, **_optional_webhook(options.owner_webhooks.get(owner), resolved=True)}
                for owner, name in receivers.items()
            ),
        ],
    }


def inhibitions() -> list[Section]:
    """Which alert silences which: a page the tickets of its incident, the broken pipeline the figures that come of it.

    Every rule names ``namespace`` and ``model`` as equal: labels that both sides lack would count as equal, so each
    alert about a model carries both, and alerts about shared parts take part in none of these rules.
    """
    quality = f'{rule_names.CONCERN}="{rule_names.CONCERN_QUALITY}"'
    return [
        _inhibit_tickets(),
        _inhibit_blind(rule_names.ALERT_COLLECTOR_STALLED, quality),
        _inhibit_blind(rule_names.ALERT_CAPTURE_DROPPING, quality),
        _inhibit_blind(rule_names.ALERT_DETECTORS_STALE, f'{names.SLO}="drift"'),
    ]


def _inhibit_tickets() -> Section:
    # Only objectives: "monitoring" alerts of one model are different things under one slo label.
    objective = f'{names.SLO}!="monitoring"'
    return {
        "source_matchers": [f'{names.SEVERITY}="{names.SEVERITY_PAGE}"', objective],
        "target_matchers": [f'{names.SEVERITY}="{names.SEVERITY_TICKET}"', objective, f'{names.MODEL}!=""'],
        "equal": list(rule_names.INCIDENT),
    }


def _inhibit_blind(cause: str, blind: str) -> Section:
    return {
        "source_matchers": [f'alertname="{cause}"'],
        "target_matchers": [blind, f'{names.MODEL}!=""'],
        "equal": [names.NAMESPACE, names.MODEL],
    }


def _routes(receivers: Mapping[str, str], options: AlertmanagerOptions) -> Section:
    deadman = {
        "matchers": [f'alertname="{rule_names.ALERT_DEADMAN}"'],
        "receiver": HEARTBEAT,
        "group_wait": options.wait(SHORTEST_WAIT_S),
        "group_interval": options.wait(options.repeat_heartbeat_s),
        "repeat_interval": options.wait(options.repeat_heartbeat_s),
    }
    # The desk hears of an incident in one group whatever the severity, soon, and people by routes of their own.
    desk = {"receiver": PAGE_DESK, "group_interval": options.wait(options.desk_interval_s), "continue": True}
    pages = {
        "matchers": [f'{names.SEVERITY}="{names.SEVERITY_PAGE}"'],
        "repeat_interval": options.wait(options.repeat_page_s),
    }
    owned = [
        {
            "matchers": [f"{names.OWNER}={quote(owner)}"],
            "receiver": receiver,
            "repeat_interval": options.wait(options.repeat_ticket_s),
            "routes": [dict(pages)],
        }
        for owner, receiver in receivers.items()
    ]
    return {
        "receiver": PAGE_DESK,
        "group_by": list(rule_names.INCIDENT),
        "group_wait": options.wait(options.group_wait_s),
        "group_interval": options.wait(options.group_interval_s),
        "repeat_interval": options.wait(options.repeat_ticket_s),
        "routes": [deadman, desk, *owned],
    }


def _page_desk(options: AlertmanagerOptions) -> Section:
    shown: Section = {}
    if options.page_desk_token_file:
        authorization = {"type": "Bearer", "credentials_file": options.page_desk_token_file}
        shown = {"http_config": {"authorization": authorization}}
    return {"url": options.page_desk_url, "send_resolved": True, **shown}


def _optional_webhook(url: str | None, *, resolved: bool) -> Section:
    return {"webhook_configs": [{"url": url, "send_resolved": resolved}]} if url else {}


def _slug(owner: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", owner.lower()).strip("-") or "unnamed"


def _refuse_shared(receivers: Mapping[str, str]) -> None:
    by_name: dict[str, list[str]] = {}
    for owner, name in receivers.items():
        by_name.setdefault(name, []).append(f"'{owner}'")
    faults = [
        f"owners {' and '.join(owners)} would share the receiver {name}; spell one of them differently"
        for name, owners in by_name.items()
        if len(owners) > 1
    ]
    if faults:
        raise SettingsError("alertmanager", faults)


def _is_url(url: str) -> bool:
    return url.startswith(("http://", "https://"))
