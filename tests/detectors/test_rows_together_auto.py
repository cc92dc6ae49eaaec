"""``rows_together: auto``: what the reference shows is what every test that takes rows as independent is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import signal

from detectors.baselines.reference import Reference, build_reference, load_reference
from detectors.counts.summary import WindowState
from detectors.evaluating.accuracy_tests import AccuracyTests
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.evaluation import Evaluator, default_bridge
from detectors.evaluating.sequential import SequentialTests
from driftline.columns import ColumnBatch
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, WHOLE_WINDOW, Result, StreamKey, Verdict, WindowKey

KEY = WindowKey(StreamKey("default", "m", "1", "stable"), "", 0.0, 3600.0)
BRIDGE = default_bridge()
ROWS = 1000


def monitor(rows_together: object = "auto", **detectors: object) -> Monitor:
    return Monitor.model_validate(
        {
            "model": "m",
            "task": "binary",
            "prediction": {"column": "said"},
            "segments": ["site"],
            "columns": [
                {"name": "slow", "type": "numeric"},
                {"name": "fast", "type": "numeric"},
                {"name": "site", "type": "categorical"},
            ],
            "reference": {"path": "r.parquet", "label": "label"},
            "detectors": {"rows_together": rows_together, **detectors},
        }
    )


def slow(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Of which 19 rows are one, in the long run."""
    return np.asarray(signal.lfilter([np.sqrt(1 - 0.9**2)], [1.0, -0.9], rng.normal(size=rows + 500))[500:])


def frame(rng: np.random.Generator, rows: int, *, hanging: bool = True) -> pd.DataFrame:
    label = (rng.random(rows) < 0.5).astype(int).astype(str)
    wrong = slow(rng, rows) > 1.0 if hanging else rng.random(rows) < 0.16
    return pd.DataFrame(
        {
            "slow": slow(rng, rows) if hanging else rng.normal(size=rows),
            "fast": rng.normal(size=rows),
            "site": rng.choice(["north", "south"], rows),
            "said": np.where(wrong, np.where(label == "1", "0", "1"), label),
            "label": label,
        }
    )


def batch(rows: pd.DataFrame) -> ColumnBatch:
    numeric = {name: rows[name].to_numpy() for name in ("slow", "fast")}
    return ColumnBatch(len(rows), numeric, {name: rows[name].to_numpy(object) for name in ("site", "said")})


def evaluated(of: Monitor, built: Reference, windows: pd.DataFrame) -> list[list[Result]]:
    engine, evaluator = StatisticsEngine({of.name: built}), Evaluator(of, built, BRIDGE)
    found = []
    for start in range(0, len(windows), ROWS):
        state = engine.observe(of, None, batch(windows.iloc[start : start + ROWS]))
        found.append(list(evaluator.evaluate(KEY, WindowState.from_bytes(state)).results))
    return found


def whole(results: list[Result]) -> Result:
    return next(each for each in results if (each.column, each.detector) == (WHOLE_WINDOW, "window"))


def test_a_slow_column_untold_keeps_the_budget_which_it_does_not_with_rows_taken_as_independent() -> None:
    drifted, untold, windows = 0, 0, 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        rows = frame(rng, 40 * ROWS)
        reference, later = rows.iloc[: 10 * ROWS], rows.iloc[10 * ROWS :]
        found = {
            said: evaluated(monitor(said), build_reference(reference, monitor(said)), later) for said in ("auto", 1)
        }
        drifted += sum(whole(each).verdict is not Verdict.OK for each in found["auto"])
        untold += sum(whole(each).verdict is Verdict.DRIFTED for each in found[1])
        windows += len(found[1])
    # The budget is 1 %; four standard errors of so many windows above it.
    assert drifted <= windows * 0.01 + 4 * np.sqrt(windows * 0.01 * 0.99)
    assert untold > windows * 0.05


def test_independent_rows_are_judged_as_if_they_had_been_said_to_be() -> None:
    rng = np.random.default_rng(21)
    rows = frame(rng, 14 * ROWS, hanging=False)
    rows.loc[11 * ROWS :, "fast"] += 0.2
    reference, later = rows.iloc[: 10 * ROWS], rows.iloc[10 * ROWS :]
    auto, one = (evaluated(monitor(said), build_reference(reference, monitor(said)), later) for said in ("auto", 1))
    assert auto == one
    assert whole(auto[-1]).verdict is not Verdict.OK


def test_a_change_of_a_slow_column_is_found_and_what_can_be_seen_is_told_in_one_line() -> None:
    rng = np.random.default_rng(22)
    rows = frame(rng, 12 * ROWS)
    rows.loc[11 * ROWS :, "slow"] += 2.0
    built = build_reference(rows.iloc[: 10 * ROWS], monitor())
    quiet, moved = evaluated(monitor(), built, rows.iloc[10 * ROWS :])
    (count,) = built.together[ALL_ROWS].of_columns(ROWS)[:1].tolist()
    line = f"rows hang together as in the reference, most in slow: {count} in a row count as one, effects from 0."
    assert line in whole(quiet).reason
    assert whole(moved).verdict is Verdict.DRIFTED
    of_column = {each.column: each.reason for each in reversed(quiet)}
    assert f"1000 rows, {count} in a row count as one" in of_column["slow"]
    assert "count as one" not in of_column["fast"]


def test_each_column_and_segment_has_a_number_of_its_own_which_an_explicit_one_replaces() -> None:
    built = build_reference(frame(np.random.default_rng(23), 20 * ROWS), monitor())
    whole_rows, north = (built.together[segment].most.tolist() for segment in (ALL_ROWS, "site=north"))
    assert 14 <= whole_rows[0] <= 26
    # Every other row, at random, is of a segment: half as many of its neighbours hang together.
    assert 6 <= north[0] <= 14
    assert whole_rows[1:] == north[1:] == [1] * (len(whole_rows) - 1)
    five = evaluated(monitor(5), built, frame(np.random.default_rng(24), ROWS))[0]
    assert "as detectors.rows_together says: 5 in a row count as one" in whole(five).reason


@pytest.mark.parametrize("said", ["auto", 3])
def test_sequential_tests_are_told_too(said: object) -> None:
    rows = frame(np.random.default_rng(25), 20 * ROWS)
    tests = {"test": "e_cusum", "rows_together": said}
    of = monitor(online={"tests": ["e_cusum"], "rows_together": said}, accuracy=tests)
    built = build_reference(rows, of)
    by_column = {each.column: each.tests[0][1].together for each in SequentialTests(of, built).watched(ALL_ROWS)}
    known = built.together[ALL_ROWS]
    assert by_column["slow"] == (known.most[0] if said == "auto" else 3)
    assert by_column["fast"] == (1 if said == "auto" else 3)
    losses = AccuracyTests(of, built).watched(ALL_ROWS)
    assert losses is not None
    assert losses.test.together == (known.of_losses() if said == "auto" else 3)
    assert 8 <= known.of_losses() <= 26


def test_what_a_file_keeps_is_what_was_found_and_a_file_without_it_takes_rows_as_independent(tmp_path: Path) -> None:
    rng = np.random.default_rng(26)
    built, later = build_reference(frame(rng, 10 * ROWS), monitor()), frame(rng, 2 * ROWS)
    built.save(tmp_path / "kept.reference")
    kept = load_reference(tmp_path / "kept.reference")
    assert {name: each.by_size.tolist() for name, each in kept.together.items()} == {
        name: each.by_size.tolist() for name, each in built.together.items()
    }
    assert evaluated(monitor(), kept, later) == evaluated(monitor(), built, later)
    older = replace(built, together={})
    older.save(tmp_path / "older.reference")
    assert load_reference(tmp_path / "older.reference").together == {}
    assert evaluated(monitor(), older, later) == evaluated(monitor(1), older, later)


def test_rows_are_taken_in_the_order_of_their_times_where_these_are_known() -> None:
    rng = np.random.default_rng(27)
    rows = frame(rng, 10 * ROWS)
    mixed = rng.permutation(len(rows))
    shuffled = rows.iloc[mixed].reset_index(drop=True)
    as_it_lies = build_reference(shuffled, monitor()).together[ALL_ROWS].most
    in_time = build_reference(shuffled, monitor(), seconds=mixed.astype(np.float64)).together[ALL_ROWS].most
    assert as_it_lies.tolist() == [1] * len(as_it_lies)
    assert in_time.tolist() == build_reference(rows, monitor()).together[ALL_ROWS].most.tolist()


def test_vectors_that_hang_together_keep_their_part_of_the_budget() -> None:
    of = Monitor.model_validate(
        {
            "model": "m",
            "task": "regression",
            "columns": [{"name": "x", "type": "numeric"}],
            "vectors": [{"name": "e", "dimension": 4, "from": "response.e"}],
            "reference": {"path": "r.parquet", "predictions": False},
            "detectors": {"multivariate": ["mmd_features"]},
        }
    )
    drifted = dict.fromkeys(("e", "all columns"), 0)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        vectors = np.column_stack([slow(rng, 18 * ROWS) for _ in range(4)])
        values = slow(rng, 18 * ROWS)
        first = pd.DataFrame({"x": values[: 8 * ROWS], "e": list(vectors[: 8 * ROWS])})
        built = build_reference(first, of)
        engine, evaluator = StatisticsEngine({of.name: built}), Evaluator(of, built, BRIDGE)
        for start in range(8 * ROWS, 18 * ROWS, ROWS):
            part = slice(start, start + ROWS)
            rows = ColumnBatch(ROWS, {"x": values[part]}, vectors={"e": vectors[part]})
            for each in evaluator.evaluate(KEY, WindowState.from_bytes(engine.observe(of, None, rows))).results:
                if each.detector == "mmd_features":
                    drifted[each.column] += each.verdict is not Verdict.OK
                    assert "in a row count as one" in each.reason
    assert max(drifted.values()) <= 1  # a quarter of a percent of 30 is promised; two have a chance of 0.3 %


def alarms_begun(said: object, seed: int, windows: int) -> int:
    """Of the sequential test, over daily windows without a change."""
    rng = np.random.default_rng(seed)
    rows = frame(rng, (10 + windows) * ROWS)
    of = monitor(online={"tests": ["e_cusum"], "rows_together": said, "false_pages": "1 per 90d"})
    built = build_reference(rows.iloc[: 10 * ROWS], of)
    tests, engine = SequentialTests(of, built), StatisticsEngine({of.name: built})
    fold = tests.start(ALL_ROWS)
    for day in range(windows):
        part = rows.iloc[(10 + day) * ROWS : (11 + day) * ROWS]
        counted = WindowState.from_bytes(engine.observe(of, None, batch(part))).section(built.fingerprint)
        assert counted is not None
        fold = tests.step(fold, replace(KEY, start_s=86400.0 * day, end_s=86400.0 * (day + 1)), counted.values)
    return len(fold.began_s)


def test_the_sequential_tests_keep_their_promise_on_a_slow_column_that_nobody_told_of() -> None:
    windows, seeds = 60, range(3)
    begun = {said: sum(alarms_begun(said, seed, windows) for seed in seeds) for said in ("auto", 1)}
    promised = windows * len(seeds) / 90
    assert begun["auto"] <= promised + 4 * np.sqrt(promised)
    assert begun[1] > 2 * (promised + 4 * np.sqrt(promised))
