"""From monitors to a Prometheus rule file: a pure function, kept as a golden file, valid for Prometheus 2.42 and 3.

>>> from driftline.monitors import parse_monitor
>>> monitor = parse_monitor('''
... model: iris
... task: multiclass
... columns: [{name: petal, type: numeric}]
... slos: {objectives: [{kind: availability, target: 0.999}]}
... ''', "iris.yaml")
>>> [group["name"] for group in build_rules([monitor])["groups"]][:2]
['driftline-slo-default-iris-availability', 'driftline-budget-default-iris-availability']
"""

from collections.abc import Sequence
from typing import Any

import yaml

from alerts.burn_rules import Group, burn_groups
from alerts.health_rules import health_groups
from alerts.options import RuleOptions
from alerts.slo import Objective, objectives
from driftline.errors import FaultsError, MonitorError
from driftline.monitors import Monitor

HEADER = """\
# Written by `driftline alerts build` from the monitors. Do not edit: change a monitor and build again.
# Prometheus must keep its samples for at least the longest period named here.
"""


def build_rules(monitors: Sequence[Monitor], options: RuleOptions | None = None) -> dict[str, Any]:
    """The content of a rule file for these monitors.

    Raises MonitorError with every fault of every monitor (an objective that cannot be measured, a model named twice)
    and SettingsError for options that no rule file can express.
    """
    options = options or RuleOptions()
    groups: list[Group] = []
    for objective in all_objectives(monitors, options):
        groups += burn_groups(objective, options)
    return {"groups": groups + health_groups(monitors, options)}


def all_objectives(monitors: Sequence[Monitor], options: RuleOptions) -> tuple[Objective, ...]:
    """The objectives of all monitors; raises MonitorError with every fault of every monitor."""
    faults = _repeated(monitors)
    found: list[Objective] = []
    for monitor in monitors:
        try:
            found += objectives(monitor, options.sampling_s)
        except FaultsError as error:
            faults += [f"{error.subject}: {fault}" for fault in error.faults]
    if faults:
        raise MonitorError("alert rules", faults)
    return tuple(found)


def rules_yaml(monitors: Sequence[Monitor], options: RuleOptions | None = None) -> str:
    """The rule file as text, the same for the same monitors."""
    return HEADER + to_yaml(build_rules(monitors, options))


def to_yaml(data: dict[str, Any]) -> str:
    """YAML for people: keys in the order given, expressions of several lines as blocks."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """A dumper of its own, so that the block style below stays out of everybody else's YAML."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never write anchors: each rule stands for itself."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _repeated(monitors: Sequence[Monitor]) -> list[str]:
    # Group and alert names join namespace and model with a hyphen, so that "a-b/c" and "a/b-c" would collide.
    ids = [f"{monitor.namespace}-{monitor.model}" for monitor in monitors]
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    return [f"more than one monitor is called {name}" for name in repeated]
