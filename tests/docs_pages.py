"""The pages of the manual that list what the code defines: ``python -m tests.docs_pages`` writes them anew.

A test holds the written pages to the code; texts come from the definitions themselves.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from driftline import monitor_detectors, monitor_labels, monitor_ranking, monitors, objectives
from driftline.access import SCOPES
from driftline.durations import format_duration
from driftline.names import ALL_METRICS, Metric
from logger_sidecar.config_file import SECTIONS
from logger_sidecar.inject.options import ANNOTATIONS, InjectOptions
from logger_sidecar.inject.settings import SHIPPER_SETTINGS, SIDECAR_SETTINGS
from logger_sidecar.setting_tables import describe
from tests.collector.described import described_api
from tests.house import ROOT

SETTINGS_PAGE = ROOT / "docs" / "sidecar-settings.md"
API_PAGE = ROOT / "docs" / "api.md"
OPENAPI_FILE = ROOT / "docs" / "openapi.json"
METRICS_PAGE = ROOT / "docs" / "metrics.md"
MONITOR_PAGE = ROOT / "docs" / "monitor.md"

#: The parts of a monitor file in the order in which a person meets them, with the heading for each.
PARTS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", monitors.Monitor),
    ("columns: a list of", monitors.ColumnSpec),
    ("vectors: a list of", monitors.VectorSpec),
    ("prediction", monitors.PredictionSpec),
    ("ranking", monitor_ranking.RankingSpec),
    ("reference", monitor_detectors.ReferenceSpec),
    ("windows", monitor_detectors.WindowSpec),
    ("detectors", monitor_detectors.DetectorSpec),
    ("detectors.control", monitor_detectors.ControlSpec),
    ("detectors.online", monitor_detectors.OnlineSpec),
    ("detectors.accuracy", monitor_detectors.AccuracyTestSpec),
    ("labels", monitor_labels.LabelSpec),
    ("pairing", monitors.PairingSpec),
    ("retention", monitors.RetentionSpec),
    ("subject", monitors.SubjectSpec),
    ("labels.key", monitor_labels.KeySpec),
    ("slos", objectives.SloSet),
    ("slos.objectives, kind: availability", objectives.AvailabilitySlo),
    ("slos.objectives, kind: latency", objectives.LatencySlo),
    ("slos.objectives, kind: capture", objectives.CaptureSlo),
    ("slos.objectives, kind: data_quality", objectives.QualitySlo),
    ("slos.objectives, kind: drift", objectives.DriftSlo),
    ("slos.objectives, kind: correctness", objectives.CorrectnessSlo),
)
#: Settings whose annotation is an option of the injection itself.
_INJECTED = {"sidecar": {"listen_port", "admin_port", "spool_max_bytes"}, "shipper": set()}
_SETTING_ANNOTATIONS = {
    name.replace("_", "-") for name in (*SIDECAR_SETTINGS, *SHIPPER_SETTINGS, *_INJECTED["sidecar"])
}
_ONLY_INJECTED = [name for name in ANNOTATIONS if name not in _SETTING_ANNOTATIONS]
#: Fields that are durations, whose defaults people read as 1d and not as 86400.
_DURATIONS = frozenset(
    {"size", "lateness", "expected_delay", "maturity", "timeout", "period", "threshold", "restart"}
    | set(monitors.RetentionSpec.model_fields)
)


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
        "`driftline init` writes a [first file](init.md) from training data.",
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
    return f"| `{field.alias or name}` | {_default(name, field)} | {field.description or _meaning(name)} |"


def _default(name: str, field: FieldInfo) -> str:
    value: Any = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "see below"
    if name in _DURATIONS and isinstance(value, float):
        return f"`{format_duration(value)}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    if value == {}:
        return "`{}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"


def settings_page() -> str:
    """Every setting of the sidecar and its shipper, and which of them are annotations."""
    lines = [
        "# Settings of the sidecar",
        "",
        "Where a setting comes from, the last one wins: defaults; the file of `--config` (sections `sidecar:` and",
        "`shipper:`, the names as below); the environment (`DRIFTLINE_SIDECAR_SAMPLE_RATE`); the pod's annotations",
        "(`--annotations-file`); options of the command. Lists are written with commas between in the environment and",
        "in annotations. `driftline sidecar --print-config` prints a file with all of them. A wrong setting stops the",
        "start: every fault is named, with where the value came from and the nearest valid name; the exit code is 2.",
        "",
        "*live*: followed while running, on SIGHUP and with `watch_config_s`. *annotation*: `driftline.io/NAME` on",
        "a workload, which `driftline inject` reads; those of the shipper begin with `shipper-`.",
    ]
    for section, cls in SECTIONS.items():
        annotations = {"sidecar": SIDECAR_SETTINGS, "shipper": SHIPPER_SETTINGS}[section]
        prefix = "shipper_" if section == "shipper" else ""
        lines += [
            "",
            f"## {section}",
            "",
            "| setting | default | live | annotation | meaning |",
            "| --- | --- | --- | --- | --- |",
        ]
        for entry in describe(cls):
            is_annotation = prefix + entry.name in annotations or entry.name in _INJECTED[section]
            annotation = f"`{prefix}{entry.name}`".replace("_", "-") if is_annotation else ""
            meaning = f"{entry.meaning} ({entry.kind})".replace("|", "\\|")
            live = "yes" if entry.live else ""
            lines.append(f"| `{entry.name}` | `{entry.default}` | {live} | {annotation} | {meaning} |")
    lines += [
        "",
        "## Further annotations",
        "",
        "Read by `driftline inject` alone; a file of `--cluster` gives defaults and bounds of all.",
        "",
        "| annotation | default | meaning |",
        "| --- | --- | --- |",
    ]
    options = {entry.name.replace("_", "-"): entry for entry in describe(InjectOptions)}
    lines += [
        f"| `{name}` | `{options[name].default}` | {options[name].meaning} ({options[name].kind}) |"
        for name in _ONLY_INJECTED
    ]
    return "\n".join(lines) + "\n"


def api_description() -> dict[str, Any]:
    """The description of the collector's API, as it is served; no collector runs for it."""
    with TemporaryDirectory() as directory:
        return described_api(Path(directory))


def openapi_file() -> str:
    """The description as a file, for generators of clients."""
    return json.dumps(api_description(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def api_page() -> str:
    """Every endpoint with its scope, what it takes and how it answers."""
    description = api_description()
    lines = [
        "# The collector's HTTP API",
        "",
        "Served by the collector at `/docs` (to be tried out) and `/openapi.json`; the same description is in",
        "[openapi.json](openapi.json), with examples and the form of every answer. Who may do what:",
        "[tokens](operations.md#tokens).",
        "",
    ]
    lines += ["| scope | allows to |", "| --- | --- |"]
    lines += [f"| `{scope}` | {meaning} |" for scope, meaning in SCOPES.items()]
    for tag in description["tags"]:
        operations = [
            (path, method, operation)
            for path, methods in description["paths"].items()
            for method, operation in methods.items()
            if tag["name"] in operation.get("tags", ())
        ]
        if operations:
            lines += ["", f"## {tag['name'].capitalize()}", "", tag["description"]]
        for path, method, operation in operations:
            lines += _endpoint(path, method, operation)
    return "\n".join(lines) + "\n"


def _endpoint(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    scope = operation["x-driftline-scope"]
    lines = ["", f"### `{method.upper()} {path}`", ""]
    lines += [operation["summary"] + ". " + " ".join(operation.get("description", "").split()), ""]
    lines += [f"Scope: `{scope}`." if scope != "open" else "Open, unless `open_paths` says otherwise.", ""]
    parameters = operation.get("parameters", ())
    if parameters:
        lines += ["| parameter | in | meaning |", "| --- | --- | --- |"]
        for each in parameters:
            schema = each.get("schema", {})
            meaning = each.get("description") or schema.get("description") or schema.get("title", "")
            lines.append(f"| `{each['name']}` | {each['in']} | {meaning} |")
        lines.append("")
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        lines += [f"Takes {', '.join(f'`{kind}`' for kind in body)}.", ""]
    lines += ["| answer | meaning |", "| --- | --- |"]
    lines += [f"| {code} | {answer['description']} |" for code, answer in sorted(operation["responses"].items())]
    return lines


def _meaning(name: str) -> str:
    return {
        "namespace": "Namespace of the model; small letters, digits and `-`.",
        "task": "`binary`, `multiclass`, `regression` or `ranking`.",
        "columns": "The input columns, at least one.",
        "name": "Name of the column in the payload.",
        "type": "`numeric` or `categorical`.",
        "kind": "Which objective this is; each kind at most once.",
        "objectives": "The objectives, one of each kind at most.",
        "prediction": "Where the answer is in the response.",
        "ranking": "What a query is, and what its labels are worth.",
        "reference": "What is expected; drift is not judged without it.",
        "windows": "How event time is cut.",
        "detectors": "Which detectors look, and how sure they must be.",
        "labels": "When labels come.",
        "retention": "How long things are kept; see [storage.md](storage.md).",
        "pairing": "How long requests and answers wait that come as events of their own.",
        "slos": "The objectives that page.",
        "severity": "`page` or `ticket`; `ticket` keeps even fast burn from paging.",
        "description": "For people.",
    }[name]


if __name__ == "__main__":
    API_PAGE.write_text(api_page())
    OPENAPI_FILE.write_text(openapi_file())
    METRICS_PAGE.write_text(metrics_page())
    MONITOR_PAGE.write_text(monitor_page())
    SETTINGS_PAGE.write_text(settings_page())
