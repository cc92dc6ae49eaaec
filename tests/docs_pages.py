"""The pages of the manual that list what the code defines: ``python -m tests.docs_pages`` writes them anew.

A test holds the written pages to the code; texts come from the definitions themselves.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from driftline import monitors
from driftline.durations import format_duration
from driftline.names import ALL_METRICS, Metric
from tests.house import ROOT

METRICS_PAGE = ROOT / "docs" / "metrics.md"
MONITOR_PAGE = ROOT / "docs" / "monitor.md"

#: The parts of a monitor file in the order in which a person meets them, with the heading for each.
PARTS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", monitors.Monitor),
    ("columns: a list of", monitors.ColumnSpec),
    ("prediction", monitors.PredictionSpec),
    ("reference", monitors.ReferenceSpec),
    ("windows", monitors.WindowSpec),
    ("detectors", monitors.DetectorSpec),
    ("labels", monitors.LabelSpec),
    ("slos", monitors.SloSet),
    ("slos.objectives, kind: availability", monitors.AvailabilitySlo),
    ("slos.objectives, kind: latency", monitors.LatencySlo),
    ("slos.objectives, kind: capture", monitors.CaptureSlo),
    ("slos.objectives, kind: data_quality", monitors.QualitySlo),
    ("slos.objectives, kind: drift", monitors.DriftSlo),
    ("slos.objectives, kind: correctness", monitors.CorrectnessSlo),
)
#: Fields that are durations, whose defaults people read as 1d and not as 86400.
_DURATIONS = frozenset({"size", "lateness", "expected_delay", "maturity", "timeout", "period", "threshold"})


def metrics_page() -> str:
    """Every metric with type, labels and meaning."""
    lines = [
        "# Metrics",
        "",
        "What the parts show on their `/metrics`. Counters only grow; histograms have the usual `_bucket`, `_sum` and",
        "`_count` series; times are seconds, sizes bytes. Labels are bounded by configuration.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *(_metric_row(metric) for metric in ALL_METRICS)]) + "\n"


def _metric_row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


def monitor_page() -> str:
    """Every field of a monitor file with its default and meaning."""
    lines = [
        "# The monitor file",
        "",
        "One YAML file per model says what is expected of it. Durations are written like `30s`, `6h` or `1d`. A wrong",
        "file is refused with every fault named; `driftline schema` prints the JSON Schema for editors,",
        "`driftline init` writes a first file from training data.",
    ]
    for heading, part in PARTS:
        lines += [
            "",
            f"## {heading}",
            "",
            _first_sentence(part),
            "",
            "| field | default | meaning |",
            "| --- | --- | --- |",
        ]
        lines += [_field_row(name, field) for name, field in part.model_fields.items()]
    return "\n".join(lines) + "\n"


def _first_sentence(part: type[BaseModel]) -> str:
    return " ".join(str(part.__doc__).split()).removesuffix(" See the module's docstring.")


def _field_row(name: str, field: FieldInfo) -> str:
    return f"| `{name}` | {_default(name, field)} | {field.description or _meaning(name)} |"


def _default(name: str, field: FieldInfo) -> str:
    value: Any = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "see below"
    if name in _DURATIONS:
        return f"`{format_duration(value)}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"


def _meaning(name: str) -> str:
    return {
        "namespace": "Namespace of the model; small letters, digits and `-`.",
        "task": "`binary`, `multiclass` or `regression`.",
        "columns": "The input columns, at least one.",
        "name": "Name of the column in the payload.",
        "type": "`numeric` or `categorical`.",
        "kind": "Which objective this is; each kind at most once.",
        "objectives": "The objectives, one of each kind at most.",
        "prediction": "Where the answer is in the response.",
        "reference": "What is expected; drift is not judged without it.",
        "windows": "How event time is cut.",
        "detectors": "Which detectors look, and how sure they must be.",
        "labels": "When labels come.",
        "slos": "The objectives that page.",
        "severity": "`page` or `ticket`; `ticket` keeps even fast burn from paging.",
        "description": "For people.",
    }[name]


if __name__ == "__main__":
    METRICS_PAGE.write_text(metrics_page())
    MONITOR_PAGE.write_text(monitor_page())
