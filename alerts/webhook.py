"""Alertmanager's webhook message, version 4: read from Alertmanager, made by the embedded evaluation.

Source of the format: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config

>>> alert = Alert("firing", {"alertname": "A"}, {"summary": "s"}, 60.0, None, "f")
>>> parse_webhook(make_webhook([alert], external_url="http://127.0.0.1")) == [alert]
True
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from alerts.fingerprint import fingerprint
from driftline.clock import Clock, clock_speed, system_clock
from driftline.errors import EventError
from driftline.results import Alert

VERSION = "4"
#: The receiver of the embedded evaluation's messages, whose times are already on the deployment's clock.
EMBEDDED_RECEIVER = "driftline-embedded"
#: Go's zero time: Alertmanager's way of saying "not yet".
_NEVER = "0001-01-01T00:00:00Z"


def to_deployment_time(clock: Clock, wall: Clock = system_clock) -> Callable[[float], float]:
    """From real seconds since the epoch, which Prometheus and Alertmanager stamp, to the time on ``clock``.

    >>> to_deployment_time(lambda: 9000.0, wall=lambda: 103.0)(102.0)
    8999.0
    """
    return lambda wall_s: clock() - (wall() - wall_s) * clock_speed(clock)


def parse_webhook(payload: Mapping[str, Any], to_time: Callable[[float], float] | None = None) -> list[Alert]:
    """The alerts of a webhook message; raises EventError with every fault found.

    ``to_time`` turns Alertmanager's times into the deployment's (:func:`to_deployment_time`); messages of the embedded
    evaluation are on that clock already.
    """
    if not isinstance(payload, Mapping):
        raise EventError("alert webhook", [f"holds {type(payload).__name__}, not an object"])
    faults: list[str] = []
    if payload.get("version") != VERSION:
        faults.append(f"version is {payload.get('version')!r}, not '{VERSION}'")
    items = payload.get("alerts")
    if not isinstance(items, list):
        faults.append(f"alerts is {type(items).__name__}, not a list")
        items = []
    convert = to_time if to_time is not None and payload.get("receiver") != EMBEDDED_RECEIVER else _same
    alerts = [_parse_alert(item, f"alerts[{index}]", convert, faults) for index, item in enumerate(items)]
    if faults:
        raise EventError("alert webhook", faults)
    return alerts


def make_webhook(alerts: Sequence[Alert], external_url: str) -> dict[str, Any]:
    """The message that tells of these alerts, as Alertmanager would write it for one group."""
    labels = _common([alert.labels for alert in alerts])
    firing = any(alert.status == "firing" for alert in alerts)
    return {
        "version": VERSION,
        "groupKey": "{}:" + repr(labels),
        "truncatedAlerts": 0,
        "status": "firing" if firing else "resolved",
        "receiver": EMBEDDED_RECEIVER,
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": _common([alert.annotations for alert in alerts]),
        "externalURL": external_url,
        "alerts": [_make_alert(alert) for alert in alerts],
    }


# --- reading ------------------------------------------------------------------------------------------------------
def _parse_alert(item: Any, where: str, convert: Callable[[float], float], faults: list[str]) -> Alert:
    if not isinstance(item, Mapping):
        faults.append(f"{where} is {type(item).__name__}, not an object")
        item = {"status": "firing", "labels": {}, "annotations": {}, "startsAt": _NEVER}
    status = item.get("status")
    if status not in ("firing", "resolved"):
        faults.append(f"{where}.status is {status!r}, neither 'firing' nor 'resolved'")
    labels = _texts(item, "labels", where, faults)
    starts_at_s = _time(item, "startsAt", where, faults)
    ends_at_s = _time(item, "endsAt", where, faults) if status == "resolved" else None
    return Alert(
        status="resolved" if status == "resolved" else "firing",
        labels=labels,
        annotations=_texts(item, "annotations", where, faults),
        starts_at_s=convert(starts_at_s),
        ends_at_s=None if ends_at_s is None else convert(ends_at_s),
        fingerprint=str(item.get("fingerprint") or fingerprint(labels)),
    )


def _texts(item: Mapping[str, Any], name: str, where: str, faults: list[str]) -> dict[str, str]:
    value = item.get(name, {})
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        faults.append(f"{where}.{name} is not an object of texts")
        return {}
    return dict(value)


def _time(item: Mapping[str, Any], name: str, where: str, faults: list[str]) -> float:
    text = item.get(name)
    try:
        return _parse_time(str(text))
    except ValueError:
        faults.append(f"{where}.{name} is {text!r}, not an RFC 3339 time")
        return math.nan


def _parse_time(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.timestamp()


def _same(seconds: float) -> float:
    return seconds


# --- writing ------------------------------------------------------------------------------------------------------
def _make_alert(alert: Alert) -> dict[str, Any]:
    return {
        "status": alert.status,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": _format_time(alert.starts_at_s),
        "endsAt": _NEVER if alert.ends_at_s is None else _format_time(alert.ends_at_s),
        "generatorURL": alert.annotations.get("dashboard_url", ""),
        "fingerprint": alert.fingerprint,
    }


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _common(parts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not parts:
        return {}
    return {name: text for name, text in parts[0].items() if all(part.get(name) == text for part in parts)}
