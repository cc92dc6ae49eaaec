"""The small parts, each against an oracle: windows, values, validation, assembly, settings."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.assemble import concatenate
from collector.settings import PREFIX, CollectorSettings
from collector.states import StateBook, StateCache
from collector.transaction import StateKey, WindowRef, WindowState
from collector.validation import validate
from collector.values import class_name
from collector.windows import window_of
from driftline.columns import ColumnBatch
from driftline.errors import SettingsError
from driftline.settings import load
from tests.collector.helpers import MONITOR


@given(st.floats(0, 4e9), st.sampled_from([0.1, 1.0, 7.0, 60.0, 3600.0, 86400.0]))
def test_every_moment_is_inside_its_window_and_windows_tile(time_s: float, size_s: float) -> None:
    start_s, end_s = window_of(time_s, size_s)
    assert start_s <= time_s < end_s
    assert window_of(start_s, size_s) == (start_s, end_s)
    assert math.isclose(end_s - start_s, size_s, abs_tol=1e-6)


@given(st.integers(0, 10**10))
def test_windows_of_whole_seconds_are_aligned_to_the_epoch(time_s: int) -> None:
    assert Fraction(window_of(float(time_s), 3600.0)[0]) == Fraction(time_s // 3600 * 3600)


@given(st.integers(-(10**12), 10**12))
def test_a_whole_number_is_one_class_however_it_is_spelt(number: int) -> None:
    assert class_name(number) == class_name(float(number)) == class_name(str(number)) == class_name(f"{number}.0")


def test_columns_are_put_under_each_other_as_pandas_does() -> None:
    first = ColumnBatch(2, {"a": np.array([1.0, 2.0])}, {"t": np.array(["x", None], dtype=object)})
    second = ColumnBatch(1, {"b": np.array([3.0])}, {"t": np.array(["y"], dtype=object)})
    merged = concatenate([first, second])
    frame = pd.concat([pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"b": [3.0]})])
    np.testing.assert_array_equal(merged.numeric["a"], frame["a"])
    np.testing.assert_array_equal(merged.numeric["b"], frame["b"])
    assert merged.text["t"].tolist() == ["x", None, "y"]


def test_an_absent_required_column_fails_every_row() -> None:
    found = validate(MONITOR, ColumnBatch(3, {}, {"carrier": np.array(["AA", "ZZ", None], dtype=object)}))
    assert not found.valid.any()
    assert {key: mask.tolist() for key, mask in found.failures.items()} == {
        ("distance", "missing"): [True, True, True],
        ("carrier", "not_allowed"): [False, True, False],
    }


def test_a_state_that_was_not_committed_is_forgotten() -> None:
    cache = StateCache(10)
    key = StateKey("p", WindowRef(1, "", 0.0, 1.0))
    reads: list[list[StateKey]] = []

    def read(keys: object) -> dict[StateKey, WindowState]:
        reads.append(list(keys))  # type: ignore[call-overload]
        return {key: WindowState(b"old", 3)}

    failed = StateBook(cache)
    failed.load([key], read)
    failed.update(key, lambda state: (state or b"") + b"+1", 1)
    again = StateBook(cache)
    again.load([key], read)
    again.update(key, lambda state: (state or b"") + b"+2", 2)
    assert again.changed() == {key: WindowState(b"old+2", 5)}
    again.committed()
    after = StateBook(cache)
    after.load([key], read)
    assert len(reads) == 2


def test_settings_name_every_fault() -> None:
    environ = {"DRIFTLINE_COLLECTOR_PORT": "99999", "DRIFTLINE_COLLECTOR_COMMIT_INTERVAL_S": "0"}
    with pytest.raises(SettingsError, match=r"commit_interval_s.*'port' is 99999"):
        load(CollectorSettings, PREFIX, environ=environ)
    chosen = load(CollectorSettings, PREFIX, environ={"DRIFTLINE_COLLECTOR_BOOTSTRAP": "a:1, b:2"})
    assert chosen.kafka.bootstrap == ("a:1", "b:2")
