"""A drafted monitor is one that a person would begin with, and one that works at once."""

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import build_reference
from detectors.evaluating.outline import draft_monitor
from driftline.errors import ReferenceDataError
from driftline.monitors import dump_monitor, parse_monitor


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = 400
    return pd.DataFrame(
        {
            "distance": rng.uniform(100, 4000, rows),
            "temp": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(50, 10, rows)),
            "carrier": rng.choice(["AA", "UA"], rows),
            "flight_id": [f"id-{place}" for place in range(rows)],
            "number": np.arange(7, 7 + rows),
            "at": pd.Timestamp("2013-12-01"),
            "prediction": rng.choice([0, 1], rows),
            "probability": rng.random(rows),
            "late": rng.choice([0, 1], rows),
        }
    )


def test_types_ranges_task_and_outputs_are_found() -> None:
    monitor = draft_monitor(frame(), model="flights", reference_path="r.parquet", target="late")
    assert [(column.name, column.type) for column in monitor.columns] == [
        ("distance", "numeric"),
        ("temp", "numeric"),
        ("carrier", "categorical"),
    ]
    distance, temp, carrier = monitor.columns
    assert (distance.required, temp.required) == (True, False)
    assert distance.minimum == 0.0
    assert distance.maximum is not None
    assert 4000 < distance.maximum < 5000
    assert carrier.allowed == ("AA", "UA")
    assert (monitor.task, monitor.prediction.column, monitor.prediction.score) == (
        "binary",
        "prediction",
        "probability",
    )
    assert (monitor.prediction.positive, monitor.segments) == ("1", ())


def test_a_draft_survives_being_written_and_read_and_fits_its_own_data() -> None:
    monitor = draft_monitor(frame(), model="flights", reference_path="r.parquet", target="late")
    again = parse_monitor(dump_monitor(monitor), "flights.yaml")
    assert again == monitor
    reference = build_reference(frame(), again)
    layout, vector = reference.layout, reference.counts[""]
    assert [layout.invalid(vector, index) for index in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("target", "task"),
    [([0.1, 2.5, 3.7] * 20, "regression"), (["a", "b", "c"] * 20, "multiclass"), (["yes", "no", "no"] * 20, "binary")],
)
def test_the_task_follows_from_the_target(target: list[object], task: str) -> None:
    data = pd.DataFrame({"x": np.arange(60.0), "y": target, "prediction": target})
    monitor = draft_monitor(data, model="m", reference_path="r.csv", target="y")
    assert monitor.task == task
    if task == "binary":
        assert monitor.prediction.positive == "yes"
    build_reference(data, monitor)


def test_missing_columns_are_named() -> None:
    with pytest.raises(ReferenceDataError, match="the target column 'gone' is missing; it has distance"):
        draft_monitor(frame(), model="m", reference_path="r.csv", target="gone")
    with pytest.raises(ReferenceDataError, match="no column is left"):
        draft_monitor(frame()[["late"]], model="m", reference_path="r.csv", target="late")
