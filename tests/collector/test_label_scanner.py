"""Labels read by the compiled build's scanner are those read without it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.labels.plain import PlainLabels, plain_labels
from collector.labels.scanning import LabelScanner, label_scanner
from driftline.events import Label
from tests.collector.helpers import MONITOR, REGRESSION, START_S

pytestmark = pytest.mark.skipif(label_scanner() is None, reason="this build has no scanner")
MONITORS = {monitor.name: monitor for monitor in (MONITOR, REGRESSION)}
ID = "01890a5d-ac96-774b-bcce-b302099a8057"

_id = st.one_of(
    st.uuids().map(str),
    st.sampled_from([ID, ID.upper(), ID.replace("-", ""), ID[:-1] + "g", ID[:-1] + "é", f" {ID[1:]}", "order-1", ""]),
)
_value = st.sampled_from([0, 1, True, "1", "1.0", "nul\0", "x" * 40, None, 2**63, -(2**70), 0.0, -0.0, 1.5])
_usual = st.builds(
    Label,
    request_id=st.uuids().map(str),
    value=st.sampled_from([0, 1, "1", True, None, "nul\0", 2**63]),
    observed_at_s=st.sampled_from([None, START_S, -1.0, 1e300, float("nan")]),
    row=st.sampled_from([0, 0, 1, -1, 2**31, 2**80]),
    model=st.just("flights"),
)
_any = st.builds(
    Label,
    request_id=_id,
    value=_value,
    observed_at_s=st.sampled_from([None, START_S, START_S + 1.0]),
    row=st.sampled_from([0, 1]),
    key=st.sampled_from(["", "", "o1"]),
    reward=st.sampled_from([False, False, True]),
    model=st.sampled_from(["flights", "flights", "delay", "nobody"]),
)


def _read(labels: list[Label], scanner: LabelScanner | None) -> list[dict[str, Any]]:
    return [_said(plain) for plain in plain_labels(labels, MONITORS, lambda _name: True, START_S, scanner)]


def _said(plain: PlainLabels) -> dict[str, Any]:
    columns = (plain.places, plain.rows, plain.texts.objects(), plain.observed_s, plain.keys.raw, plain.keys.own)
    dtypes = [column.dtype for column in columns]
    return {"ids": list(plain.keys.ids), "columns": [column.tolist() for column in columns], "dtypes": dtypes}


@given(st.one_of(st.lists(_usual), st.lists(_any, max_size=6)))
@example([Label(request_id=ID, value="1", model="flights"), Label(request_id=ID, value="1", model="delay")])
@example([Label(request_id=ID, value="2.5", model="delay"), Label(request_id=ID, value=3, model="delay")])
@example([Label(request_id=ID, value=0.0, model="delay"), Label(request_id=ID, value=-0.0, model="delay")])
def test_labels_are_the_same_columns_with_the_scanner_and_without(labels: list[Label]) -> None:
    assert _read(labels, label_scanner()) == _read(labels, None)


def test_what_most_labels_are_is_read_by_the_scanner() -> None:
    labels = [Label(request_id=ID[:-1] + digit, value=int(digit) % 2, model="flights") for digit in "0123456789"]
    columns = np.empty((10, 16), np.uint8), np.empty(10, np.int64), np.empty(10), np.empty(10, np.int32)
    scanner = label_scanner()
    assert scanner is not None
    assert scanner.scan(labels, str, START_S, *columns) == ([label.request_id for label in labels], ["0", "1"])
    assert columns[3].tolist() == [0, 1] * 5
