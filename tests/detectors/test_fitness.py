"""What makes a reference unfit is found, and a fit one is left in peace."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from detectors.baselines.reference import build_reference
from detectors.counts.frame_times import seconds_of
from detectors.offline.fitness import weaknesses
from detectors.offline.time_columns import named_times, time_column
from driftline.errors import ReferenceDataError
from driftline.monitor_detectors import DetectorSpec
from driftline.monitors import Monitor, parse_monitor


def monitor(**changes: object) -> Monitor:
    text = (
        "model: m\ntask: binary\nprediction: {column: said}\nsegments: [site]\n"
        "windows: {size: 1h, minimum_rows: %d}\ndetectors: {minimum_effect: %s}\n"
        "columns: [{name: x, type: numeric}, {name: site, type: categorical}]\n"
    )
    return parse_monitor(text % (changes.get("minimum_rows", 300), changes.get("minimum_effect", 0.2)), "m.yaml")


def frame(rows: int = 4000) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "x": rng.normal(0, 1, rows),
            "site": rng.choice(["north", "south"], rows),
            "said": rng.choice(["0", "1"], rows),
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="h"),
        }
    )


def found(data: pd.DataFrame, of: Monitor | None = None, time: str | None = None) -> list[tuple[str, str]]:
    of = of or monitor()
    times = None if time is None else named_times(data, time)
    return [(each.column, each.what) for each in weaknesses(data, of, build_reference(data, of), times)]


def test_a_fit_reference_has_none() -> None:
    assert found(frame(), time="at") == []


def test_windows_too_small_for_the_effect_that_matters_are_told_with_a_size_that_is_not() -> None:
    small = monitor(minimum_rows=50, minimum_effect=0.1)
    data = frame()
    (each,) = weaknesses(data, small, build_reference(data, small))
    assert "a window of 50 rows against 4,000 shows only effects from" in each.what
    enough = int(each.advice.split("minimum_rows to ")[1].split(":")[0].replace(",", ""))
    assert found(data, monitor(minimum_rows=enough, minimum_effect=0.1)) == []
    assert found(data, monitor(minimum_rows=enough // 2, minimum_effect=0.1)) != []


@pytest.mark.parametrize(("rows", "what"), [(1, "has one row only"), (3, "has 3 rows only"), (29, "has 29 rows only")])
def test_a_handful_of_rows_is_told_whatever_effect_matters(rows: int, what: str) -> None:
    large = monitor(minimum_effect=0.99)
    data = frame(rows)
    told = [each for each in weaknesses(data, large, build_reference(data, large)) if not each.column]
    assert told[0].what == what
    assert "'not enough evidence'" in told[0].advice


def test_columns_that_say_nothing_are_told() -> None:
    assert found(frame().assign(said="1")) == [("said", "has one value only")]
    data = frame()
    data.loc[np.arange(len(data)) % 4 != 0, "x"] = np.nan
    scores = ("", "gives no outlier scores from 1 numbers a row")
    assert found(data) == [("x", "is missing in 75 % of the rows"), scores]


def test_a_rare_segment_is_told() -> None:
    data = frame()
    data.loc[:20, "site"] = "east"
    assert found(data) == [("", "segment site=east has 21 rows")]


def test_a_reference_that_moves_within_itself_is_told_by_column() -> None:
    data = frame()
    data["x"] += np.where(np.arange(len(data)) < 2000, 0.0, 1.5)
    (*_, (column, what)) = found(data)
    assert column == "x"
    assert what.startswith("moved within the reference: x moved up")


def test_a_span_shorter_than_a_week_is_told_and_a_wrong_time_column_is_an_error() -> None:
    data = frame()
    data["at"] = data["at"].iloc[0] + pd.to_timedelta(np.arange(len(data)), unit="s")
    assert found(data, time="at") == [("", "spans 1h6m39s")]
    data["at"] = data["at"].iloc[0] + pd.to_timedelta(np.linspace(0, 3 * 86_400 + 432, len(data)), unit="s")
    assert found(data, time="at") == [("", "spans 3d")]
    data["at"] = data["at"].iloc[0] + pd.to_timedelta(np.linspace(0, 7 * 86_400 - 432, len(data)), unit="s")
    assert found(data, time="at") == []
    with pytest.raises(ReferenceDataError, match="the time column 'when' is missing"):
        found(data, time="when")


def test_rows_too_few_to_score_any_are_told() -> None:
    data = frame(4000).iloc[:3].assign(site="north", said=["0", "1", "0"])
    told = found(data, monitor(minimum_rows=1, minimum_effect=0.99))
    assert ("", "gives no outlier scores from 1 numbers a row") in told


def test_halves_are_those_of_the_time_however_the_rows_lie() -> None:
    data = frame()
    data["x"] += np.where(np.arange(len(data)) < 2000, 0.0, 1.5)
    shuffled = data.sample(frac=1.0, random_state=5)
    assert found(shuffled) == []
    ((column, what),) = found(shuffled, time="at")
    assert (column, what.startswith("moved within the reference: x moved up")) == ("x", True)


def test_the_column_of_times_is_found_where_the_monitor_does_not_watch_it() -> None:
    found = time_column(frame(), monitor())
    assert found is not None
    assert (found.column, found.seconds.tolist()) == ("at", seconds_of(frame(), "at").tolist())
    assert time_column(frame().drop(columns="at"), monitor()) is None
    assert time_column(frame().assign(at=["10:30"] * 4000), monitor()) is None


def test_rows_that_hang_together_are_told_with_how_many_unless_the_monitor_knows() -> None:
    data = frame()
    rng = np.random.default_rng(7)
    data["x"] = np.repeat(rng.normal(size=len(data) // 8), 8)
    ((column, what),) = found(data)
    rows = int(what.removeprefix("hangs together: ").split(" rows in a row")[0])
    assert column == "x"
    assert 6 <= rows <= 12
    assert "hangs together" in str(found(data, told(rows - 1)))
    assert "hangs together" not in str(found(data, told(rows)))
    assert found(data.sample(frac=1.0, random_state=5)) == []


def told(rows: int | Literal["auto"]) -> Monitor:
    return monitor().model_copy(update={"detectors": DetectorSpec(minimum_effect=0.2, rows_together=rows)})


def test_what_the_smallest_window_shows_of_rows_that_hang_together_is_told() -> None:
    data = frame()
    data["x"] = np.repeat(np.random.default_rng(7).normal(size=len(data) // 8), 8)
    ((_, advice),) = [
        (each.column, each.advice) for each in weaknesses(data, told("auto"), build_reference(data, told("auto")))
    ]
    assert advice.startswith("so they are counted (detectors.rows_together: auto): a window of 300 rows shows only")
    data["x"] = np.repeat(np.random.default_rng(7).normal(size=len(data) // 250), 250)
    seconds = seconds_of(data, "at")
    (weak, *_) = weaknesses(data, told("auto"), build_reference(data, told("auto"), seconds=seconds))
    assert "no effect for sure" in weak.advice


def test_sorted_rows_say_nothing_of_each_other_and_that_is_told_unless_their_times_are_known() -> None:
    data = frame()
    data["x"] = np.sort(data["x"])
    assert [what for column, what in found(data) if column == "x" and "as sorted rows do" in what]
    assert "as sorted rows do" not in str(found(data, told(1)))
    in_time = build_reference(data, monitor(), seconds=seconds_of(data, "at"))
    assert "as sorted rows do" not in str(weaknesses(data, monitor(), in_time))


def test_a_reference_that_was_built_before_it_was_asked_is_to_be_built_again() -> None:
    built = replace(build_reference(frame(), monitor()), together={})
    ((column, what),) = [(each.column, each.what) for each in weaknesses(frame(), told("auto"), built)]
    assert (column, what) == ("", "does not know how many of its rows hang together")
    assert weaknesses(frame(), told(1), built) == ()
