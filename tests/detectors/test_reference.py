"""References: bins that suit any column, faults named, files that read back."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.baselines.reference import build_reference, load_frame, load_reference
from detectors.counts.binning import count_numbers, full_edges
from detectors.counts.layout import ColumnLayout
from detectors.counts.reference_bins import numeric_cuts, representatives
from driftline.errors import ReferenceDataError
from driftline.monitors import Monitor, parse_monitor

MONITOR = """
model: m
task: multiclass
columns: [{name: x, type: numeric}, {name: c, type: categorical}, {name: note, type: categorical, drift: false}]
segments: [c]
maximum_segments: 2
reference: {path: r.csv, label: truth}
"""


def monitor() -> Monitor:
    return parse_monitor(MONITOR, "m.yaml")


def frame(rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    said = rng.choice(["u", "v"], rows)
    return pd.DataFrame(
        {"x": rng.normal(size=rows), "c": rng.choice(["a", "b", "d"], rows), "prediction": said, "truth": said}
    )


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=600))
def test_every_value_is_counted_in_exactly_the_bin_it_lies_in(values: list[float]) -> None:
    column = np.array(values)
    if not np.isfinite(column).any():
        return
    cuts = numeric_cuts(column)
    counts = count_numbers(column, full_edges(cuts))
    assert np.all(np.diff(cuts) > 0)
    assert counts.sum() == len(column)
    assert (counts[0], counts[-2], counts[-1]) == (
        (column == -np.inf).sum(),
        (column == np.inf).sum(),
        np.isnan(column).sum(),
    )
    finite = column[np.isfinite(column)]
    expected = [
        int(((finite >= low) & (finite < high)).sum())
        for low, high in zip([-np.inf, *cuts], [*cuts, np.inf], strict=True)
    ]
    assert counts[1:-2].tolist() == expected


@pytest.mark.parametrize("rows", [5, 500, 70_000, 140_001])
def test_sorted_blocks_and_single_values_are_counted_alike(rows: int) -> None:
    rng = np.random.default_rng(rows)
    values = np.round(rng.normal(size=rows), 2)
    values[rng.random(rows) < 0.1] = np.nan
    edges = full_edges(np.arange(-3.0, 3.0, 0.05))
    assert np.array_equal(
        count_numbers(values, edges),
        np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1),
    )


def test_quantile_bins_hold_about_equal_shares() -> None:
    values = np.random.default_rng(1).lognormal(size=50_000)
    counts = count_numbers(values, full_edges(numeric_cuts(values)))
    filled = counts[counts > 0]
    assert 250 <= len(filled) <= 262
    assert filled.max() <= 50_000 / 256 + 2


def test_cuts_lie_between_the_values_and_mirrored_values_have_mirrored_cuts() -> None:
    values = np.random.default_rng(3).lognormal(size=5_000)
    cuts = numeric_cuts(values)
    inside = cuts[(cuts > values.min()) & (cuts < values.max())]
    assert len(inside) == 255
    assert not np.isin(inside, values).any()
    # 256 * 20 - 5000: places fall alike from either end only where they divide the rows.
    even = np.random.default_rng(3).lognormal(size=5_120)
    there, back = numeric_cuts(even), -numeric_cuts(-even)[::-1]
    assert there[len(there) // 2 - 100 :][:200] == pytest.approx(back[len(back) // 2 - 100 :][:200])


def test_frequent_values_have_bins_of_their_own() -> None:
    rng = np.random.default_rng(2)
    values = np.where(rng.random(20_000) < 0.4, 0.0, rng.exponential(size=20_000))
    edges = full_edges(numeric_cuts(values))
    at_zero, above = count_numbers(np.array([0.0]), edges), count_numbers(np.array([1e-9]), edges)
    assert at_zero.argmax() != above.argmax()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "values",
    [[7.0], [0.0] * 50, [1.0, 2.0] * 40, [-1.7e308, 1.7e308], [5e-324, 0.0], list(range(1000)), [np.nan, 3.0, np.inf]],
)
def test_constant_few_valued_and_extreme_columns_have_bins_and_representatives(values: list[float]) -> None:
    column = np.array(values, dtype=np.float64)
    layout = ColumnLayout("x", "numeric", cuts=numeric_cuts(column))
    middles = representatives(column, layout)
    assert len(middles) == layout.bins
    assert np.isfinite(middles[1:-2]).all()
    assert np.all(np.diff(middles[1:-2]) >= 0)
    counts = count_numbers(column, layout.edges)[1:-2]
    finite = column[np.isfinite(column)]
    with np.errstate(over="ignore"):
        assert float((counts / counts.sum()) @ middles[1:-2]) == pytest.approx(
            float(np.mean(finite / 4) * 4), rel=1e-6, abs=1e-9
        )


def test_segments_are_bounded_and_share_the_bins() -> None:
    reference = build_reference(frame(), monitor())
    top = frame()["c"].value_counts()
    assert set(reference.counts) == {"", *(f"c={value}" for value in top.index[:2])}
    assert reference.counts[f"c={top.index[0]}"][0] == top.iloc[0]


def test_a_reference_file_reads_back_whole(tmp_path: Path) -> None:
    reference = build_reference(frame(), monitor())
    path = tmp_path / "m.reference"
    reference.save(path)
    again = load_reference(path)
    assert again.fingerprint == reference.fingerprint
    assert again.performance_layout == reference.performance_layout
    assert {name: section.sums for name, section in again.performance.items()} == {
        name: section.sums for name, section in reference.performance.items()
    }
    for name, vector in reference.counts.items():
        assert np.array_equal(again.counts[name], vector)
    for name, values in reference.representatives.items():
        assert np.array_equal(again.representatives[name], values, equal_nan=True)
    assert again.outliers is not None
    assert reference.outliers is not None
    assert again.outliers.threshold == reference.outliers.threshold


def test_a_broken_reference_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.reference"
    path.write_bytes(b"not a reference")
    with pytest.raises(ReferenceDataError, match=r"broken\.reference cannot be read"):
        load_reference(path)


def test_other_bins_have_another_fingerprint() -> None:
    assert build_reference(frame(300), monitor()).fingerprint != build_reference(frame(301), monitor()).fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.rename(columns={"x": "xx"}), "column 'x' is missing; did you mean 'xx'?"),
        (lambda data: data.assign(x=np.nan), "column 'x' has no values, all 300 are missing"),
        (lambda data: data.assign(c=["", None] * 150), "column 'c' has no values, all 300 are missing"),
        (lambda data: data.assign(x="warm"), "column 'x' holds 'warm' in row 0, which is not a number"),
        (lambda data: data.assign(x=pd.Timestamp("2013-12-01")), "column 'x' holds times"),
        (lambda data: data.assign(x=np.inf), "column 'x' has no finite value"),
        (lambda data: data.drop(columns="prediction"), "column 'prediction' is missing"),
        (
            lambda data: data.drop(columns="truth"),
            "column 'truth' is missing",
        ),
        (lambda data: data.iloc[:0], "has no rows"),
    ],
)
def test_faulty_reference_data_is_refused_by_column_and_problem(change, message) -> None:
    with pytest.raises(ReferenceDataError, match=message):
        build_reference(change(frame()), monitor())


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ReferenceDataError, match=r"column 'x' is missing.*column 'c' is missing"):
        build_reference(frame().drop(columns=["x", "c"]), monitor())


def test_parquet_and_csv_files_load_alike(tmp_path: Path) -> None:
    data = frame().round(3)  # pandas 2 reads longer decimals with an error in the last bit
    data.to_csv(tmp_path / "r.csv", index=False)
    data.to_parquet(tmp_path / "r.parquet")
    built = [build_reference(load_frame(tmp_path / name), monitor()) for name in ("r.csv", "r.parquet")]
    assert built[0].fingerprint == built[1].fingerprint


def test_missing_foreign_and_broken_data_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReferenceDataError, match=r"gone\.csv does not exist"):
        load_frame(tmp_path / "gone.csv")
    (tmp_path / "r.xlsx").write_bytes(b"")
    with pytest.raises(ReferenceDataError, match=r"neither \.parquet nor \.csv"):
        load_frame(tmp_path / "r.xlsx")
    (tmp_path / "r.parquet").write_bytes(b"junk")
    with pytest.raises(ReferenceDataError, match=r"r\.parquet cannot be read"):
        load_frame(tmp_path / "r.parquet")
