"""Monitors: good files are read and written back; bad ones are refused with every fault named for a person."""

from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftline.errors import MonitorError
from driftline.monitor_detectors import DetectorSpec, ReferenceSpec, WindowSpec
from driftline.monitor_labels import LabelSpec
from driftline.monitors import (
    ColumnSpec,
    Monitor,
    PredictionSpec,
    dump_monitor,
    monitor_schema,
    parse_monitor,
)
from driftline.objectives import SloSet

SMALL = "model: m\ntask: binary\ncolumns:\n- {name: a, type: numeric}\n- {name: c, type: categorical}\n"
FULL = """\
model: flights
namespace: air
task: regression
owner: ops
runbook: https://runbooks.example/flights
description: Delay in minutes.
columns:
- {name: distance, type: numeric, required: true, minimum: 0, maximum: 6000}
- {name: carrier, type: categorical, allowed: [AA, "9E"]}
- {name: note, type: categorical, drift: false}
prediction: {column: delay}
segments: [carrier]
maximum_segments: 5
reference: {path: autumn.parquet, label: delay}
windows: {size: 6h, lateness: 30m, minimum_rows: 50}
detectors: {numeric: [ks], categorical: [chi_square], false_alarm_rate: 0.02, minimum_effect: 0.05, drifted_columns: 2}
labels: {expected_delay: 4h, maturity: 2d, timeout: 10d}
slos:
  period: 28d
  objectives:
  - {kind: availability, target: 0.999}
  - {kind: latency, target: 0.99, threshold: 250ms, severity: ticket}
  - {kind: capture, target: 0.999, severity: page}
  - {kind: data_quality, target: 0.99}
  - {kind: drift, target: 0.9}
  - {kind: correctness, target: 0.8, tolerance: 15}
"""


def faults_of(text: str) -> list[str]:
    """What is wrong with a monitor file."""
    with pytest.raises(MonitorError) as caught:
        parse_monitor(text, "m.yaml")
    assert caught.value.subject == "m.yaml"
    return list(caught.value.faults)


def test_every_field_is_read() -> None:
    monitor = parse_monitor(FULL, "flights.yaml")
    assert monitor.name == "air/flights"
    assert (monitor.windows.size, monitor.windows.lateness) == (21600.0, 1800.0)
    assert monitor.labels.expected_delay == 4 * 3600.0
    assert monitor.slos.period == 28 * 86400.0
    assert [slo.kind for slo in monitor.slos.objectives] == [
        "availability",
        "latency",
        "capture",
        "data_quality",
        "drift",
        "correctness",
    ]
    assert [slo.severity for slo in monitor.slos.objectives] == ["page", "ticket", "page", "ticket", "ticket", "page"]
    assert monitor.column("carrier").allowed == ("AA", "9E")
    with pytest.raises(KeyError):
        monitor.column("tail")


def test_what_is_watched_are_inputs_then_prediction_then_score() -> None:
    assert parse_monitor(FULL, "f").watched() == (
        ("distance", "numeric"),
        ("carrier", "categorical"),
        ("delay", "numeric"),
    )
    scored = parse_monitor(SMALL + "prediction: {column: late, score: p_late}\n", "f")
    assert scored.watched()[2:] == (("late", "categorical"), ("p_late", "numeric"))


@pytest.mark.parametrize("text", [SMALL, FULL])
def test_a_written_monitor_is_read_back_equal(text: str) -> None:
    monitor = parse_monitor(text, "f")
    assert parse_monitor(dump_monitor(monitor), "f") == monitor


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)
shares = st.floats(0.0001, 0.9999)
seconds = st.floats(0.001, 1e8)
objectives = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"kind": st.sampled_from(["availability", "capture", "data_quality", "drift"]), "target": shares}
        ),
        st.fixed_dictionaries({"kind": st.just("latency"), "target": shares, "threshold": seconds}),
        st.fixed_dictionaries({"kind": st.just("correctness"), "target": shares, "severity": st.just("ticket")}),
    ),
    unique_by=lambda slo: str(slo["kind"]),
)


@st.composite
def monitors(draw: st.DrawFn) -> Monitor:
    """Any valid monitor."""
    found = draw(
        st.lists(names.filter(lambda name: name not in {"prediction", "score"}), min_size=1, max_size=5, unique=True)
    )
    columns = []
    for name in found:
        if draw(st.booleans()):
            low, high = sorted(draw(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))))
            columns.append(ColumnSpec(name=name, type="numeric", minimum=low, maximum=high, drift=draw(st.booleans())))
        else:
            allowed = draw(st.none() | st.lists(st.text(max_size=5), max_size=3).map(tuple))
            columns.append(ColumnSpec(name=name, type="categorical", allowed=allowed, required=draw(st.booleans())))
    return Monitor(
        model=draw(st.from_regex(r"[A-Za-z0-9._-]+", fullmatch=True)),
        namespace=draw(st.from_regex(r"[a-z0-9-]+", fullmatch=True)),
        task=draw(st.sampled_from(["binary", "multiclass"])),
        columns=tuple(columns),
        prediction=PredictionSpec(score=draw(st.sampled_from([None, "score"])), positive=draw(st.text(max_size=4))),
        segments=tuple(column.name for column in columns if column.type == "categorical" and draw(st.booleans())),
        reference=draw(
            st.none() | st.builds(ReferenceSpec, path=st.text(max_size=8), label=st.none() | st.text(max_size=4))
        ),
        windows=WindowSpec(size=draw(seconds), lateness=draw(seconds), minimum_rows=draw(st.integers(1, 10**6))),
        detectors=DetectorSpec(false_alarm_rate=draw(shares), minimum_effect=draw(shares)),
        labels=LabelSpec(expected_delay=draw(seconds), maturity=draw(seconds), timeout=draw(seconds)),
        slos=SloSet.model_validate({"period": draw(seconds), "objectives": draw(objectives)}),
        description=draw(st.text(max_size=20)),
    )


@given(monitors())
@example(parse_monitor(SMALL, "f").model_copy(update={"description": "a\x85b\u2028"}))
def test_any_monitor_survives_its_file(monitor: Monitor) -> None:
    assert parse_monitor(dump_monitor(monitor), "f") == monitor


def test_unknown_fields_are_named_with_the_nearest_that_is_valid_there() -> None:
    assert faults_of(SMALL + "modle: x\n") == ["modle: is not known here; did you mean 'model'?"]
    assert faults_of(SMALL + "windows: {sise: 1d}\n") == ["windows.sise: is not known here; did you mean 'size'?"]
    assert faults_of(SMALL + "windows: {target: 1}\n") == ["windows.target: is not known here"]
    assert faults_of("model: m\ntask: binary\ncolumns: [{name: a, type: numeric, drfit: false}]") == [
        "columns.a.drfit: is not known here; did you mean 'drift'?"
    ]


def test_unknown_fields_of_an_objective_are_named_where_they_stand_in_the_file() -> None:
    text = SMALL + "slos: {objectives: [{kind: latency, target: 0.9, treshold: 5s}]}\n"
    assert faults_of(text) == [
        "slos.objectives.latency.threshold: is required",
        "slos.objectives.latency.treshold: is not known here; did you mean 'threshold'?",
    ]


def test_a_field_called_like_a_kind_of_objective_keeps_its_place_in_the_path() -> None:
    text = "model: m\ntask: binary\ncolumns: [{name: a, type: numeric, drift: perhaps}]"
    assert faults_of(text)[0].startswith("columns.a.drift: must be a valid boolean")


def test_all_faults_of_a_file_come_together() -> None:
    text = SMALL.replace("model: m", "modell: m") + "task: guess\nwindows: {size: tomorrow, minimum_rows: 0}\n"
    told = " | ".join(faults_of(text))
    for part in (
        "model: is required",
        "modell: is not known",
        "task: must be one of binary",
        "windows.size",
        "minimum_rows",
    ):
        assert part in told
    assert len(faults_of(text)) == 5


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("detectors: {false_alarm_rate: 0}", "detectors.false_alarm_rate: must be greater than 0 (found 0)"),
        ("detectors: {numeric: ks}", "detectors.numeric: must be a list (found 'ks')"),
        ("prediction: {positive: 1}", "prediction.positive: must be a text; write a number in quotes (found 1)"),
        ("windows: {lateness: -1}", "windows.lateness: must be longer than zero (found -1)"),
        ("reference: x.csv", "reference: must be a mapping of fields (found 'x.csv')"),
        ("namespace: Air", "namespace: must match pattern '^[a-z0-9-]+$' (found 'Air')"),
        ("segments: [a]", "segments names 'a', which is not a categorical column"),
        ("segments: [c, c]", "segments names 'c' more than once"),
        ("prediction: {column: a}", "prediction names 'a', which is an input column"),
        (
            "prediction: {column: p, score: p}",
            "prediction: score is 'p', as column is: each needs a name; score_from says where one is",
        ),
        (
            "detectors: {online: {false_pages: '1'}}",
            "detectors.online.false_pages: '1' is not a number and a time, such as '1 per 90d' (found '1')",
        ),
        ("slos: {objectives: [{target: 0.9}]}", "slos.objectives.0: needs a kind"),
        (
            "slos: {objectives: [{kind: laency, target: 0.9}]}",
            (
                "slos.objectives.0.kind: must be one of availability, latency, capture, data_quality, drift, "
                "correctness (found 'laency'); did you mean 'latency'?"
            ),
        ),
        (
            "slos: {objectives: [{kind: drift, target: 0.9}, {kind: drift, target: 0.8}]}",
            "slos: objectives names drift more than once",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_path(more: str, told: str) -> None:
    assert faults_of(SMALL + more) == [told]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("{name: a, type: numeric, minimum: 5, maximum: 2}", "columns.a: minimum 5 is above maximum 2"),
        ("{name: a, type: numeric, allowed: [x]}", "columns.a: allowed is for categorical columns"),
        ("{name: a, type: categorical, minimum: 1}", "columns.a: minimum and maximum are for numeric columns"),
        ("{name: '', type: numeric}", "columns.0.name: must have at least 1 character"),
        ("{name: a, type: numeric}, {name: a, type: numeric}", "columns names a more than once"),
    ],
)
def test_column_rules_that_contradict_themselves_are_refused(column: str, told: str) -> None:
    faults = faults_of(f"model: m\ntask: binary\ncolumns: [{column}]")
    assert len(faults) == 1
    assert faults[0].startswith(told)


def test_correctness_of_a_regression_needs_a_tolerance() -> None:
    text = FULL.replace(", tolerance: 15", "")
    assert faults_of(text) == ["the correctness objective of a regression needs a tolerance"]


def test_a_prediction_without_a_name_is_refused() -> None:
    with pytest.raises(MonitorError, match=r"prediction\.column"):
        parse_monitor(SMALL + "prediction: {column: ''}\n", "m.yaml")


@pytest.mark.parametrize("text", ["", "- a", "just words", "42"])
def test_a_file_without_fields_is_refused(text: str) -> None:
    assert "not a mapping of fields" in faults_of(text)[0]


@pytest.mark.parametrize("text", ["model: [1", "a: b: c", "\tmodel: m", "model: \x00", "!!python/object:os.system x"])
def test_a_file_that_is_not_yaml_is_refused(text: str) -> None:
    assert faults_of(text)[0].startswith("is not YAML: ")


def test_the_json_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(monitor_schema())


@pytest.mark.parametrize("text", [SMALL, FULL])
def test_the_json_schema_accepts_good_files(text: str) -> None:
    jsonschema.validate(yaml.safe_load(text), monitor_schema())


VALIDATOR = jsonschema.Draft202012Validator(monitor_schema())


@pytest.mark.slow
@settings(max_examples=30)
@given(monitors())
def test_the_json_schema_accepts_any_written_monitor(monitor: Monitor) -> None:
    VALIDATOR.validate(yaml.safe_load(dump_monitor(monitor)))


def test_a_model_may_have_vectors_for_its_only_input() -> None:
    data = yaml.safe_load(SMALL) | {"columns": [], "vectors": [{"name": "e", "dimension": 3}]}
    assert parse_monitor(yaml.safe_dump(data), "f").columns == ()
    VALIDATOR.validate(data)
    with pytest.raises(MonitorError, match="columns or vectors must name an input"):
        parse_monitor(yaml.safe_dump(data | {"vectors": []}), "f")


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"task": "guess"},
        {"columns": []},
        {"modle": "x"},
        {"columns": [{"name": "a", "type": "number"}]},
        {"windows": {"size": [1]}},
        {"detectors": {"false_alarm_rate": 2}},
        {"slos": {"objectives": [{"kind": "latency", "target": 0.9}]}},
    ],
)
def test_the_json_schema_refuses_what_the_parser_refuses(change: dict[str, Any]) -> None:
    data = yaml.safe_load(SMALL) | change
    with pytest.raises(MonitorError):
        parse_monitor(yaml.safe_dump(data), "f")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, monitor_schema())


def test_every_field_is_described_or_explains_itself() -> None:
    plain = {"model", "namespace", "task", "name", "type", "kind", "target", "severity", "description"}
    schema = monitor_schema()
    parts = [schema, *schema["$defs"].values()]
    bare = {
        name
        for part in parts
        for name, field in part["properties"].items()
        if "description" not in field and "$ref" not in field and name not in plain
    }
    assert bare <= {"columns", "objectives", "reference", "windows", "detectors", "labels", "slos", "prediction"}


@pytest.mark.parametrize(
    ("task", "classes", "told"),
    [
        ("regression", "['1']", "labels.classes is for classification (task is regression)"),
        ("binary", "['0', '1', '2']", "labels.classes of a binary model are two, the positive one '1' among them"),
        ("binary", "['no', 'yes']", "labels.classes of a binary model are two, the positive one '1' among them"),
        ("binary", "['1', '1']", "labels.classes of a binary model are two"),
        ("multiclass", "[0, 1]", "labels.classes.0: must be a text; write a number in quotes (found 0)"),
    ],
)
def test_classes_that_labels_cannot_have_are_refused(task: str, classes: str, told: str) -> None:
    text = f"model: m\ntask: {task}\ncolumns: [{{name: x, type: numeric}}]\nlabels: {{classes: {classes}}}\n"
    with pytest.raises(MonitorError) as error:
        parse_monitor(text, "f")
    assert told in str(error.value)
