"""Rule tests for promtool, written from Python: series in, the alerts that must fire at given times out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alerts.evaluator import Sample
from alerts.rules import to_yaml
from driftline.durations import format_duration
from driftline.results import Alert
from tests.alerts.examples import run


@dataclass(frozen=True)
class Series:
    """One counter as it is scraped every ``interval_s``; None where the scrape failed."""

    name: str
    labels: Mapping[str, str]
    values: Sequence[float | None]

    def input(self) -> dict[str, str]:
        """The series in promtool's notation."""
        labels = ",".join(f'{name}="{value}"' for name, value in self.labels.items())
        values = " ".join("_" if value is None else f"{value:.12g}" for value in self.values)
        return {"series": f"{self.name}{{{labels}}}", "values": values}

    def at(self, index: int) -> Sample | None:
        """What the scrape of that number reads."""
        value = self.values[index]
        return None if value is None else Sample(self.name, self.labels, value)


@dataclass(frozen=True)
class Expectation:
    """The alerts of one name that fire at one time, complete with labels and annotations."""

    eval_time_s: float
    alertname: str
    alerts: Sequence[Alert]

    def entry(self) -> dict[str, Any]:
        """The expectation in promtool's notation."""
        expected = [
            {
                "exp_labels": {name: value for name, value in alert.labels.items() if name != "alertname"},
                "exp_annotations": alert.annotations,
            }
            for alert in self.alerts
        ]
        return {
            "eval_time": format_duration(self.eval_time_s),
            "alertname": self.alertname,
            "exp_alerts": expected,
        }


def run_rule_test(
    promtool: Path,
    directory: Path,
    rules: Mapping[str, Any],
    series: Sequence[Series],
    expectations: Sequence[Expectation],
    *,
    interval_s: float,
    evaluation_interval_s: float,
) -> None:
    """Let promtool play the series against the rules; fails the test with promtool's words on any difference."""
    (directory / "rules.yml").write_text(to_yaml(dict(rules)))
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": format_duration(evaluation_interval_s),
        "tests": [
            {
                "interval": format_duration(interval_s),
                "input_series": [one.input() for one in series],
                "alert_rule_test": [expectation.entry() for expectation in expectations],
            }
        ],
    }
    (directory / "test.yml").write_text(to_yaml(test))
    run(promtool, "test", "rules", directory / "test.yml")


def counter(rises: Sequence[float], start: float = 0.0) -> list[float | None]:
    """A counter that begins at ``start`` and rises by each of ``rises``."""
    values: list[float | None] = [start]
    total = start
    for rise in rises:
        total += rise
        values.append(total)
    return values
