"""`rows_together: auto` with a seasonal baseline: hours that differ every week alike hide nothing, alarm nobody."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from detectors.baselines.reference import Reference, build_reference, load_reference
from detectors.evaluating.sequential import SequentialTests
from detectors.offline.files import OfflineWindows, Span
from detectors.offline.fitness import told_together, weaknesses
from detectors.offline.time_columns import Times
from driftline.monitor_detectors import WEEK_S
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, Result, StreamKey, Verdict

STREAM = StreamKey("default", "m", "1", "stable")
HOUR_S, ROWS = 3600.0, 100
#: A Thursday, as weeks since 1970 begin.
BEGIN_S = 2600 * WEEK_S
Values = NDArray[np.float64]


def monitor(baseline: str = "seasonal", size: str = "1h", **detectors: Any) -> Monitor:
    return Monitor.model_validate(
        {
            "model": "m",
            "task": "regression",
            "columns": [{"name": "x", "type": "numeric"}, {"name": "site", "type": "categorical"}],
            "windows": {"size": size, "minimum_rows": 20},
            "reference": {"path": "r", "predictions": False, "baseline": baseline, "drifted": "keep"},
            "detectors": detectors,
        }
    )


def independent(rng: np.random.Generator, rows: int) -> Values:
    return rng.normal(size=rows)


def alike(rng: np.random.Generator, rows: int) -> Values:
    return np.repeat(rng.normal(size=-(-rows // 10)), 10)[:rows]


def days(rng: np.random.Generator, rows: int) -> Values:
    levels = np.repeat(rng.normal(size=-(-rows // (24 * ROWS))), 24 * ROWS)[:rows]
    return np.asarray(np.sqrt(0.1) * levels + np.sqrt(0.9) * rng.normal(size=rows))


def hour_of_week(seconds: Values) -> NDArray[np.int64]:
    return (seconds % WEEK_S // HOUR_S).astype(np.int64)


def frame(
    seed: int, weeks: int, noise: Callable[[np.random.Generator, int], Values] = independent, season: float = 1.5
) -> pd.DataFrame:
    """Weeks of rows at random times; each hour of the week has a mean and shares of sites of its own."""
    rng, hours = np.random.default_rng(seed), np.random.default_rng(1)
    at = np.sort(rng.uniform(0.0, weeks * WEEK_S, weeks * 168 * ROWS))
    place = hour_of_week(at)
    north = (0.5 + season * hours.uniform(-0.2, 0.2, 168))[place]
    return pd.DataFrame(
        {
            "x": (season * hours.normal(size=168))[place] + noise(rng, len(at)),
            "site": np.where(rng.random(len(at)) < north, "north", "south"),
            "at": BEGIN_S + at,
        }
    )


def week_of(rows: pd.DataFrame) -> Values:
    return np.asarray((rows["at"].to_numpy() - BEGIN_S) // WEEK_S)


def some_hours(rows: pd.DataFrame) -> pd.DataFrame:
    """Every fourth of the week's."""
    return rows[hour_of_week(rows["at"].to_numpy()) % 4 == 0]


def built(of: Monitor, rows: pd.DataFrame) -> Reference:
    return build_reference(rows[["x", "site"]], of, seconds=rows["at"].to_numpy())


def evaluated(of: Monitor, reference: Reference, rows: pd.DataFrame) -> list[Result]:
    windows = OfflineWindows(of, reference, STREAM, Span(0.0, 1.0, "at"))
    windows.add(rows)
    return list(windows.evaluate().results)


def last_week(results: list[Result], detector: str = "window", column: str | None = None) -> list[Result]:
    newest_s = max(each.window.end_s for each in results)
    return [
        each
        for each in results
        if each.detector == detector and each.window.start_s >= newest_s - WEEK_S and column in (None, each.column)
    ]


@cache
def said_of(noise: Callable[[np.random.Generator, int], Values], season: float, moved: float) -> tuple[int, int, str]:
    """Windows of a week drifted or warned of, how many there are, and the first one's reason."""
    rows = frame(3, 6, noise, season)
    rows.loc[week_of(rows) == 5, "x"] += moved
    of = monitor()
    results = last_week(evaluated(of, built(of, rows[week_of(rows) < 2]), some_hours(rows[week_of(rows) >= 2])))
    assert all("against seasonal baseline of 3 windows" in each.reason for each in results)
    return sum(each.verdict is not Verdict.OK for each in results), len(results), results[0].reason


@pytest.mark.parametrize("noise", [independent, alike, days])
def test_without_a_change_windows_keep_to_the_budget(noise: Callable[[np.random.Generator, int], Values]) -> None:
    alarms, windows, _ = said_of(noise, 1.5, 0.0)
    # The budget is 1 %; four standard errors of so many windows above it.
    assert windows == 42
    assert alarms <= windows * 0.01 + 4 * np.sqrt(windows * 0.01 * 0.99)


@pytest.mark.parametrize(("noise", "moved"), [(independent, 0.4), (alike, 1.5)])
def test_a_change_is_found_about_as_often_as_without_the_season(
    noise: Callable[[np.random.Generator, int], Values], moved: float
) -> None:
    found, windows, reason = said_of(noise, 1.5, moved)
    without, _, _ = said_of(noise, 0.0, moved)
    assert without > 0.3 * windows
    assert found > without - 3 * np.sqrt(windows * 0.25)
    assert ("count as one" in reason) == (noise is alike)


def test_a_window_without_earlier_ones_is_compared_with_the_file_and_counts_as_it_shows() -> None:
    rows, of = frame(4, 5), monitor()
    reference = built(of, rows[week_of(rows) < 2])
    known = reference.together[ALL_ROWS]
    assert known.in_season is not None
    assert known.in_season.of_columns(ROWS).max() == 1
    later = some_hours(rows[week_of(rows) >= 2])
    results = [each for each in evaluated(of, reference, later) if each.detector == "window"]
    assert len(results) == 3 * 42
    of_file = [each for each in results if "against the reference file" in each.reason]
    assert of_file == results
    assert all("rows hang together as in the reference, most in x:" in each.reason for each in of_file)


@pytest.mark.parametrize("baseline", ["fixed", "rolling"])
def test_where_other_hours_are_compared_the_season_is_what_hangs_together(baseline: str) -> None:
    rows, of = frame(4, 3), monitor(baseline)
    known = built(of, rows).together[ALL_ROWS]
    assert known.in_season is None
    assert known.beside_same_hours is known
    assert known.of_columns(ROWS)[:2].min() > 5  # of x and site


def test_sequential_tests_compare_with_the_file_and_count_as_it_shows() -> None:
    rows = frame(4, 3)
    of = monitor(online={"tests": ["e_cusum"]})
    reference = built(of, rows)
    known = reference.together[ALL_ROWS]
    said = {each.column: each.tests[0][1].together for each in SequentialTests(of, reference).watched(ALL_ROWS)}
    assert said == dict(zip(("x", "site"), known.most.tolist()[:2], strict=True))


@pytest.mark.parametrize("test", ["mmd_features", "domain_classifier", "pca_reconstruction"])
def test_all_columns_together_count_so_too(test: str) -> None:
    rows, of = frame(5, 6), monitor(multivariate=[test], kept_rows=200)
    reference = built(of, rows[week_of(rows) < 2])
    results = last_week(evaluated(of, reference, some_hours(rows[week_of(rows) >= 2])), test)
    assert reference.together[ALL_ROWS].of_directions(ROWS) > 1
    assert [each.reason for each in results if "count as one" in each.reason] == []
    assert sum(each.verdict is not Verdict.OK for each in results) <= 1


def test_both_are_kept_in_the_file_and_one_of_the_version_before_knows_the_whole_file_only(tmp_path: Path) -> None:
    rows, of = frame(6, 3), monitor(multivariate=["mmd_features"])
    reference = built(of, rows)
    reference.save(tmp_path / "new.reference")
    kept = load_reference(tmp_path / "new.reference").together[ALL_ROWS]
    for mine, its in ((reference.together[ALL_ROWS], kept), (reference.together[ALL_ROWS].in_season, kept.in_season)):
        assert mine is not None
        assert its is not None
        assert (mine.by_size.tolist(), mine.whole.tolist()) == (its.by_size.tolist(), its.whole.tolist())
    with np.load(tmp_path / "new.reference") as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("in season")}
    header = json.loads(arrays["header"].tobytes()) | {"format": "driftline reference 3"}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    (tmp_path / "old.reference").write_bytes(held.getvalue())
    older = load_reference(tmp_path / "old.reference")
    assert older.together[ALL_ROWS].in_season is None
    assert older.together[ALL_ROWS].by_size.tolist() == kept.by_size.tolist()
    (told,) = [each for each in weaknesses(rows, of, older, times(rows)) if "not enough evidence" in each.what]
    assert told.advice.startswith("build it again")


def times(rows: pd.DataFrame) -> Times:
    return Times("at", rows["at"].to_numpy())


def told(rows: pd.DataFrame, *, timed: bool = True, **detectors: Any) -> list[tuple[str, str]]:
    of = monitor(**detectors)
    reference = built(of, rows) if timed else build_reference(rows[["x", "site"]], of)
    found = weaknesses(rows, of, reference, times(rows) if timed else None)
    return [(each.what, each.advice) for each in found if "of other weeks" in each.what]


def test_a_reference_that_cannot_tell_hours_from_rows_that_hang_together_says_so_and_what_to_do() -> None:
    rows = frame(7, 3)
    short = rows[rows["at"] < BEGIN_S + 9 * 86400.0]
    ((what, advice),) = told(short)
    assert what == ("not enough evidence how rows hang together beside the same hours of other weeks: it spans 9d")
    assert advice.startswith("take two weeks of rows at least: until then the differences between its hours count")
    ((what, advice),) = told(rows, timed=False)
    assert what.endswith("no column says their times")
    assert advice.startswith("keep one: ")
    assert told(rows) == []
    assert told(short, rows_together=1) == []


def test_how_many_count_as_one_is_told_beside_both() -> None:
    rows, of = frame(8, 3, alike), monitor()
    reference = built(of, rows)
    known = reference.together[ALL_ROWS]
    assert known.in_season is not None
    file, hours = (int(each.of_columns(20).max()) for each in (known, known.in_season))
    assert told_together(of, reference) == (
        f"in a window of 20 rows up to {file} in a row count as one beside the whole file, up to {hours} beside the "
        "same hours of other weeks"
    )
    assert file > hours > 5
    assert told_together(monitor("fixed"), built(monitor("fixed"), rows)) == ""
    without = replace(reference, together={ALL_ROWS: replace(known, in_season=None)})
    assert told_together(of, without) == ""
