"""Tests of several columns on rows that hang together: by simulation what they may call drifted, and what they find."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import signal

from detectors.baselines.reference import Reference, build_reference, load_reference
from detectors.counts.summary import WindowState
from detectors.counts.vectors import vectors
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.row_tables import beside
from detectors.evaluating.table_catalogue import TABLE_CATALOGUE, table_detector
from detectors.evaluating.together import Together, find, together_results
from detectors.offline.fitness import weaknesses
from detectors.statistics.evidence import Evidence
from detectors.statistics.hanging_directions import MOST
from detectors.statistics.table_sample import Drawn, TableEvidence, TableSample
from driftline.columns import ColumnBatch
from driftline.monitors import Monitor
from driftline.results import ALL_COLUMNS, ALL_ROWS, StreamKey, Verdict, WindowKey

KEY = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)
ROWS, KEPT = 500, 200
OURS = [entry.name for entry in TABLE_CATALOGUE if ":" not in entry.name]
Rows = NDArray[np.float64]

every_one = pytest.mark.parametrize("name", OURS)


def slow(rng: np.random.Generator, rows: int, columns: int = 3) -> Rows:
    """Of which 19 rows are one, in the long run."""
    noise = rng.normal(size=(rows + 500, columns)) * np.sqrt(1 - 0.9**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -0.9], noise, axis=0)[500:])


def alike(rng: np.random.Generator, rows: int, columns: int = 3) -> Rows:
    return np.repeat(rng.normal(size=(-(-rows // 20), columns)), 20, axis=0)[:rows]


def independent(rng: np.random.Generator, rows: int, columns: int = 3) -> Rows:
    return rng.normal(size=(rows, columns))


def monitor(columns: int, *names: str, said: object = "auto") -> Monitor:
    return Monitor.model_validate(
        {
            "model": "m",
            "task": "regression",
            "columns": [{"name": f"x{place}", "type": "numeric"} for place in range(columns)],
            "reference": {"path": "r.parquet", "predictions": False},
            "detectors": {"multivariate": names, "kept_rows": KEPT, "rows_together": said, "false_alarm_rate": 0.1},
        }
    )


def batch(rows: Rows) -> ColumnBatch:
    return ColumnBatch(len(rows), {f"x{place}": values for place, values in enumerate(rows.T)})


def built(of: Monitor, rows: Rows) -> Reference:
    return build_reference(pd.DataFrame(dict(batch(rows).numeric)), of, seconds=np.arange(len(rows), dtype=np.float64))


def found_in(of: Monitor, reference: Reference, windows: Rows) -> list[Together]:
    """What each test of the monitor finds in each window, some rows of which are kept."""
    engine, dice, found = StatisticsEngine({of.name: reference}), np.random.default_rng(1), []
    for start in range(0, len(windows), ROWS):
        window = batch(windows[start : start + ROWS])
        state = WindowState.from_bytes(engine.observe(of, None, window))
        kept = vectors(reference.row_columns(of), window)[dice.permutation(ROWS)[:KEPT]]
        found += find(of, reference, {}, ALL_ROWS, state, beside(of, reference, ALL_ROWS, kept, None))
    return found


def alarms(found: list[Together], of: Monitor) -> int:
    return sum(each.verdict is not Verdict.OK for one in found for each in together_results(KEY, [one], of))


@pytest.mark.parametrize("draw", [slow, alike], ids=["slow", "alike"])
@every_one
def test_rows_that_hang_together_raise_no_more_alarms_than_the_budget_allows(
    name: str, draw: Callable[[np.random.Generator, int], Rows]
) -> None:
    of, one = monitor(3, name), monitor(3, name, said=1)
    said, untold, windows = 0, 0, 0
    for seed in range(3):
        rows = draw(np.random.default_rng(seed), 22 * ROWS)
        reference, later = rows[: 12 * ROWS], rows[12 * ROWS :]
        said += alarms(found_in(of, built(of, reference), later), of)
        untold += alarms(found_in(one, built(one, reference), later), one)
        windows += 10
    # One window in twenty is this test's; four standard errors of thirty are 6.3, and warnings count here.
    assert said <= windows * 0.05 + 4 * np.sqrt(windows * 0.05 * 0.95)
    assert untold > (0.05 if name == "pca_reconstruction" else 0.3) * windows
    assert untold > said


@every_one
def test_a_change_is_found_all_the_same(name: str) -> None:
    of = monitor(3, name)
    rows = slow(np.random.default_rng(4), 15 * ROWS)
    moved = rows[12 * ROWS :].copy()
    moved[:, 2] = 2.0 * rows[12 * ROWS :, 2] + 2.5
    assert alarms(found_in(of, built(of, rows[: 12 * ROWS]), moved), of) == 3


def test_independent_rows_are_judged_as_if_they_had_been_said_to_be() -> None:
    rows = independent(np.random.default_rng(5), 12 * ROWS)
    auto, one = (monitor(3, *OURS, said=said) for said in ("auto", 1))
    found = [found_in(of, built(of, rows[: 10 * ROWS]), rows[10 * ROWS :]) for of in (auto, one)]
    assert found[0] == found[1]
    assert {each.as_one for each in found[0]} == {1}


def test_a_number_that_is_said_replaces_what_the_reference_shows() -> None:
    rows = slow(np.random.default_rng(6), 11 * ROWS)
    of = monitor(3, *OURS, said=7)
    found = found_in(of, built(of, rows[: 10 * ROWS]), rows[10 * ROWS :])
    assert {each.as_one for each in found} == {7}
    assert all("7 in a row count as one" in each.reason for each in together_results(KEY, found, of))


def test_what_no_column_shows_alone_shows_along_principal_directions() -> None:
    rng = np.random.default_rng(7)
    rows = np.sqrt(0.1) * slow(rng, 40 * ROWS, 1) + np.sqrt(0.9) * rng.normal(size=(40 * ROWS, 10))
    reference = built(monitor(10, "mmd"), rows)
    known = reference.together[ALL_ROWS]
    # Of the columns' mean ten in nineteen are slow: 1 + 18 * 10 / 19 rows are one; of a column 1 + 18 / 10.
    assert max(known.of_columns(ROWS)) < 6
    assert 7 <= known.of_directions(ROWS) <= 16
    frame = pd.DataFrame(dict(batch(rows).numeric))
    for said, advice in (("auto", "tests of all columns together count them"), (4, "set detectors.rows_together to 1")):
        told = {each.column: each for each in weaknesses(frame, monitor(10, "mmd", said=said), reference)}
        assert told[""].what.startswith("hangs together as a whole more than any column does: 1")
        assert advice in told[""].advice
    assert built(monitor(10), rows).together[ALL_ROWS].of_directions(ROWS) == 1


def test_days_of_some_level_are_further_from_the_plane_than_those_of_the_reference() -> None:
    rng = np.random.default_rng(8)
    rows = np.sqrt(0.1) * np.repeat(rng.normal(size=(12, 3)), ROWS, axis=0) + rng.normal(size=(12 * ROWS, 3))
    known = built(monitor(3, "pca_reconstruction"), rows).together[ALL_ROWS]
    directions, plane = known.of_directions(ROWS), known.of_plane(ROWS)
    assert directions > 15
    assert plane >= round(1 + (directions - 1) ** 2 / (2**9 - 1)) > 1


def test_what_a_file_keeps_is_what_was_found_and_an_older_file_says_what_its_columns_do(tmp_path: Path) -> None:
    rows = slow(np.random.default_rng(9), 11 * ROWS)
    of = monitor(3, "mmd", "pca_reconstruction")
    reference = built(of, rows[: 10 * ROWS])
    reference.save(tmp_path / "kept.reference")
    kept = load_reference(tmp_path / "kept.reference")
    assert kept.together[ALL_ROWS].whole.tolist() == reference.together[ALL_ROWS].whole.tolist()
    assert found_in(of, kept, rows[10 * ROWS :]) == found_in(of, reference, rows[10 * ROWS :])
    with np.load(tmp_path / "kept.reference") as arrays:
        older = {name: arrays[name] for name in arrays.files if not name.startswith("together whole/")}
    np.savez(tmp_path / "older.npz", **older)
    read = load_reference(tmp_path / "older.npz")
    mmd, plane = found_in(of, read, rows[10 * ROWS :])
    assert mmd.as_one == read.together[ALL_ROWS].of_columns(ROWS).max() > 5
    assert plane.as_one == 1


def test_rows_that_were_drawn_are_worth_what_a_simulation_says() -> None:
    rng = np.random.default_rng(10)
    means = {kept: [slow(rng, ROWS, 1)[rng.permutation(ROWS)[:kept]].mean() for _ in range(3000)] for kept in (50, 200)}
    for kept, found in means.items():
        assert np.var(found) * kept == pytest.approx(Drawn(ROWS, 19).inflation(kept), rel=0.15)
    assert Drawn(ROWS).inflation(kept) == 1.0
    assert Drawn(10, 19).inflation(1) == 1.0


def test_a_table_says_how_many_rows_the_files_were_drawn_from_and_counts_say_it_of_a_baseline() -> None:
    of = monitor(3, "mmd")
    rows = slow(np.random.default_rng(11), 10 * ROWS)
    reference = built(of, rows)
    assert beside(of, reference, ALL_ROWS, rows[:KEPT], None).reference_drawn.rows == 10 * ROWS
    assert beside(of, reference, ALL_ROWS, rows[:KEPT], rows[:3]).reference_drawn.rows == 10 * ROWS
    assert beside(of, reference, ALL_ROWS, rows[:KEPT], rows[:KEPT]).reference_drawn == Drawn()


def test_other_libraries_tests_take_rows_as_independent_and_say_so() -> None:
    assert {entry.counts_as_one for entry in TABLE_CATALOGUE if entry.name not in OURS} == {""}
    assert all(table_detector(name).counts_as_one for name in OURS)
    evidence = TableEvidence(Evidence(0.1, "larger_is_worse", 0.5))
    found = Together("alibi:mmd", evidence, 250, 250, as_one=17)
    (result,) = together_results(KEY, [found], monitor(3, "mmd"))
    assert "250 rows taken as independent, though up to 17 in a row hang together" in result.reason
    assert result.column == ALL_COLUMNS


def one_slow(rng: np.random.Generator, rows: int) -> Rows:
    """The first of five columns is slow, the others are independent."""
    return np.hstack((slow(rng, rows, 1), rng.normal(size=(rows, 4))))


ALONG = ["mmd_features", "mmd", "energy", "domain_classifier"]


@pytest.mark.parametrize("name", ALONG)
def test_where_one_column_hangs_together_it_raises_few_alarms_and_another_is_tested_as_if_it_did_not(name: str) -> None:
    of, windows = monitor(5, name), 12
    rows = one_slow(np.random.default_rng(13), (20 + windows) * ROWS)
    reference, later = built(of, rows[: 20 * ROWS]), rows[20 * ROWS :]
    known = reference.together[ALL_ROWS]
    (as_one,), _ = known.directions.of_windows(ROWS)
    assert (as_one > 5, known.of_rest(ROWS)) == (True, 1)
    found = found_in(of, reference, later)
    assert {each.as_one for each in found} == {as_one}
    # One window in twenty is this test's; four standard errors of twelve are 3.0, and warnings count here.
    assert alarms(found, of) <= windows * 0.05 + 4 * np.sqrt(windows * 0.05 * 0.95)
    moved, as_all = later + np.array([0.0, 0.0, 0.0, 0.0, 0.7]), monitor(5, name, said=as_one)
    seen, seen_as_all = (alarms(found_in(one, reference, moved), one) for one in (of, as_all))
    assert seen > windows / 2 > 3 * seen_as_all


def test_directions_are_kept_in_a_file_and_without_them_all_count_as_the_one_that_is_most(tmp_path: Path) -> None:
    rows, of = one_slow(np.random.default_rng(14), 22 * ROWS), monitor(5, *ALONG)
    reference = built(of, rows[: 20 * ROWS])
    reference.save(tmp_path / "kept.reference")
    found = found_in(of, reference, rows[20 * ROWS :])
    assert found_in(of, load_reference(tmp_path / "kept.reference"), rows[20 * ROWS :]) == found
    with np.load(tmp_path / "kept.reference") as arrays:
        older = {name: arrays[name] for name in arrays.files if not name.startswith("together along/")}
    older["together whole/"] = older["together whole/"][:2]
    np.savez(tmp_path / "older.npz", **older)
    read = load_reference(tmp_path / "older.npz")
    known = read.together[ALL_ROWS]
    assert (len(known.directions), known.of_rest(ROWS)) == (0, known.of_directions(ROWS))
    assert known.of_directions(ROWS) > 5
    assert {each.as_one for each in found_in(of, read, rows[20 * ROWS :])} == {known.of_directions(ROWS)}


def test_where_more_stand_out_than_are_told_by_themselves_all_count_as_the_most_of_them() -> None:
    rng = np.random.default_rng(15)
    rows = np.hstack((alike(rng, 20 * ROWS, MOST + 2), rng.normal(size=(20 * ROWS, 40))))
    known = built(monitor(MOST + 42, "mmd"), rows).together[ALL_ROWS]
    assert len(known.directions) == MOST
    assert known.of_rest(ROWS) == known.of_directions(ROWS) > 15


@every_one
def test_the_more_hang_together_the_less_sure(name: str) -> None:
    rng = np.random.default_rng(12)
    before, now = independent(rng, 400), independent(rng, 300) * 1.2 + 0.3
    p_values, lowest = [], []
    for as_one in (1, 3, 9, 27):
        sample = TableSample(
            ("a", "b", "c"), before, now, reference_drawn=Drawn(400, as_one), current_drawn=Drawn(300, as_one)
        )
        found = table_detector(name).detect(sample, np.random.default_rng(0), 499)
        assert found.evidence.p_value is not None
        assert found.effect is not None
        p_values.append(found.evidence.p_value)
        lowest.append(found.effect.lower)
    assert p_values == sorted(p_values)
    assert p_values[0] < 0.01 < p_values[-1]
    assert lowest == sorted(lowest, reverse=True)
    assert lowest[0] > lowest[-1] == 0.0
