"""Categories are counted alike, whether few rows are counted one by one or many by their codes."""

import numpy as np
import pandas as pd

from detectors.counts.binning import tally
from detectors.counts.frames import window_rows
from driftline.monitors import parse_monitor

VALUES = ["AA", "", None, float("nan"), 1, 1.0, True, 2.5, np.float32(0.1), "1"]


def test_many_rows_are_tallied_as_few_are() -> None:
    chosen = np.random.default_rng(1).integers(0, len(VALUES), 150_000)
    values = np.empty(len(VALUES), dtype=object)
    values[:] = VALUES
    rows = values[chosen]
    expected = {"AA": 0, None: 0, "1": 0, "2.5": 0, "0.1": 0}
    spelt = ["AA", None, None, None, "1", "1", "1", "2.5", "0.1", "1"]
    for place, count in enumerate(np.bincount(chosen).tolist()):
        expected[spelt[place]] += count
    assert tally(rows) == tally(rows.tolist()) == expected
    parts = [tally(rows[start : start + 100]) for start in range(0, 1000, 100)]
    assert {name: sum(part.get(name, 0) for part in parts) for name in expected} == tally(rows[:1000])


def test_numbers_as_categories_keep_their_spelling() -> None:
    numbers = np.repeat(np.array([1.0, 0.5, np.nan, -3.0]), 100)
    assert tally(numbers) == {"1": 100, "0.5": 100, None: 100, "-3": 100}
    assert tally(np.ones(300)) == {"1": 300}
    assert tally(np.full(300, np.nan)) == {None: 300}


def test_a_frames_texts_come_with_their_codes() -> None:
    monitor = parse_monitor("{model: toy, task: regression, columns: [{name: city, type: categorical}]}", "toy.yaml")
    rows = window_rows(pd.DataFrame({"city": ["a", 1.0, None, "", "1", "a"], "prediction": 0.0}), monitor)
    assert rows.text["city"].tolist() == list(rows.coded["city"]) == ["a", "1", None, None, "1", "a"]
    assert rows.coded["city"].counts() == {None: 2, "a": 2, "1": 2}
