"""A monitor as it might be: values set by their paths."""

from collections.abc import Sequence
from typing import Any

import yaml

from driftline.errors import SettingsError
from driftline.monitors import Monitor, dump_monitor, parse_monitor


def changed(monitor: Monitor, changes: Sequence[str]) -> Monitor:
    """The monitor with values set by their paths, such as ``detectors.minimum_effect=0.2`` or
    ``slos.objectives.drift.target=0.95``; raises MonitorError naming what is wrong, SettingsError for no assignment.
    """
    data: dict[str, Any] = yaml.safe_load(dump_monitor(monitor))
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise SettingsError("backtest", [f"--set '{change}' is not PATH=VALUE"])
        _set(data, path, yaml.safe_load(value))
    return parse_monitor(yaml.safe_dump(data), "--set")


def _set(data: dict[str, Any], path: str, value: object) -> None:
    *steps, last = path.split(".")
    place: Any = data
    for step in steps:
        if isinstance(place, list):
            named = [each for each in place if isinstance(each, dict) and step in (each.get("kind"), each.get("name"))]
            if not named:
                raise SettingsError("backtest", [f"--set {path}: there is no '{step}'"])
            place = named[0]
        else:
            place = place.setdefault(step, {})
    if not isinstance(place, dict):
        raise SettingsError("backtest", [f"--set {path}: '{last}' cannot be set there"])
    place[last] = value


def variations(monitor: Monitor, changes: Sequence[str]) -> list[tuple[str, Monitor]]:
    """The monitor as it stands and, where there are changes, as they make it, each with its title."""
    stands = [("as it stands", monitor)]
    return [*stands, (f"with {', '.join(changes)}", changed(monitor, changes))] if changes else stands
