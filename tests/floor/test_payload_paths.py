"""Paths to values in payloads, and what a monitor may say with them."""

from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import MonitorError
from driftline.monitors import dump_monitor, monitor_schema, parse_monitor
from driftline.payload_paths import PayloadPath, parse_document_path, parse_path

GOOD = """\
model: support-chat
task: multiclass
columns:
- {name: prompt_tokens, type: numeric, from: prompt, as: tokens}
- {name: language, type: categorical, from: "messages[-1].content", as: language}
- {name: answer, type: numeric, from: response.answer, as: characters, minimum: 1}
- {name: ttft, type: numeric, from: event.ttft_ms}
- {name: f1, type: numeric}
- {name: f2, type: categorical}
tensors: {features: [f1, f2]}
raw_datatype: FP32
prediction: {column: finish, from: finish_reason, score: tokens, score_from: usage.total_tokens}
"""


def test_a_monitor_says_where_values_are_and_survives_its_file() -> None:
    monitor = parse_monitor(GOOD, "m.yaml")
    assert (monitor.columns[0].source, monitor.columns[0].feature) == ("prompt", "tokens")
    assert parse_monitor(dump_monitor(monitor), "m.yaml") == monitor
    jsonschema.validate(yaml.safe_load(GOOD), monitor_schema())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prompt", PayloadPath("request", ("prompt",))),
        ("request.response", PayloadPath("request", ("response",))),
        ("response.data[*].embedding[-1]", PayloadPath("response", ("data", "*", "embedding", -1))),
        ("event.ttft_ms", PayloadPath("event", ("ttft_ms",))),
        ('"a.b [x]".c', PayloadPath("request", ("a.b [x]", "c"))),
        ('"request".x', PayloadPath("request", ("request", "x"))),
        ("request[0]", PayloadPath("request", ("request", 0))),
        ("response", PayloadPath("request", ("response",))),
    ],
)
def test_a_path_has_a_half_and_steps(text: str, path: PayloadPath) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text", ["", "[0]", "a..b", "a[", "a[x]", ".a", "a.", "a[*].b[*]", "*", "a.*", "event.x", "event", 'a"b']
)
def test_what_is_no_path_is_refused(text: str) -> None:
    if text == "event":
        assert parse_path(text).half == "request"
        return
    with pytest.raises(ValueError, match=r"path|event|every item"):
        parse_path(text)


@pytest.mark.parametrize("text", ["", "a[*].b[*]", "$a[", "[*][*]", "event.ttft_ms", "$..a", "$a", "$.", "[x]"])
def test_what_is_no_path_into_a_document_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"path|event"):
        parse_document_path(text)


@given(st.text(max_size=20))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        path = parse_path(text)
    except ValueError:
        return
    assert isinstance(path.steps[0], str)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"columns": [{"name": "a", "type": "numeric", "from": "x["}]},
            "columns.a.from: a path is not understood from '['",
        ),
        ({"columns": [{"name": "a", "type": "numeric", "as": "charcters"}]}, "did you mean 'characters'?"),
        ({"columns": [{"name": "a", "type": "numeric", "as": "language"}]}, "as: language makes a category of it"),
        ({"columns": [{"name": "a", "type": "categorical", "as": "norm"}]}, "as: norm makes a number of it"),
        ({"columns": [{"name": "a", "type": "numeric", "form": "x"}]}, "did you mean 'from'?"),
        (
            {"prediction": {"column": "p", "as": "norm"}},
            "prediction.as: norm makes a number of it, and task is multiclass",
        ),
        ({"prediction": {"column": "p", "score_from": "x"}}, "score_from needs score"),
        (
            {"tensors": {"features": ["f1", "anser"]}},
            "tensors.features names 'anser', which is not a column; did you mean 'answer'",
        ),
        ({"tensors": {"features": ["f1"], "others": ["f1"]}}, "which is in tensors.features already"),
        ({"tensors": {"features": ["language"]}}, "which says itself where it is from"),
        ({"raw_datatype": "FP23"}, "did you mean 'FP32'?"),
    ],
)
def test_a_wrong_place_or_feature_is_refused_by_field_and_value(change: dict[str, Any], told: str) -> None:
    with pytest.raises(MonitorError) as found:
        parse_monitor(yaml.safe_dump(yaml.safe_load(GOOD) | change), "m.yaml")
    assert told in str(found.value)
