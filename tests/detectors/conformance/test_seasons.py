"""A season goes by people's clocks: windows keep to UTC, and the clocks change beside them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.baselines.reference import build_reference
from detectors.baselines.seasonal import candidates
from detectors.offline.files import OfflineWindows, Span
from driftline.errors import MonitorError
from driftline.monitor_detectors import WEEK_S, ReferenceSpec
from driftline.monitors import Monitor, dump_monitor, parse_monitor
from driftline.results import ALL_ROWS, StreamKey, Verdict, WindowKey

HOUR_S, DAY_S = 3600.0, 86400.0


def local(month: int, day: int, hour: int = 0, year: int = 2026) -> datetime:
    """A time that clocks somewhere show."""
    return datetime(year, month, day, hour)  # noqa: DTZ001


STREAM = StreamKey("default", "m", "1", "stable")
#: Per zone, a Monday: the first of summer time, after it, after it in the south, and one where clocks never change.
MONDAYS = {
    "Europe/Berlin": local(3, 30),
    "America/New_York": local(11, 2),
    "Australia/Sydney": local(4, 6),
    "Asia/Kolkata": local(3, 30),
}
ROWS = 300


def monitor(zone: str) -> Monitor:
    return parse_monitor(
        "model: m\ntask: regression\nwindows: {size: 1h, minimum_rows: 50}\ncolumns: [{name: x, type: numeric}]\n"
        f"reference: {{path: r, predictions: false, baseline: seasonal, drifted: keep, time_zone: {zone}}}\n",
        "m.yaml",
    )


def start_s(shown: datetime, zone: str, fold: int = 0) -> float:
    return shown.replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def found(shown: datetime, zone: str, weeks: int, size_s: float = HOUR_S, fold: int = 0) -> list[str]:
    """Local times of the windows that the one of ``shown`` is compared with."""
    begin_s = start_s(shown, zone, fold)
    spec = ReferenceSpec(path="r", baseline="seasonal", windows=100, time_zone=zone)
    starts = candidates(WindowKey(STREAM, ALL_ROWS, begin_s, begin_s + size_s), spec)
    oldest_s = begin_s - (weeks + 0.5) * WEEK_S
    return [f"{datetime.fromtimestamp(one, ZoneInfo(zone)):%m-%d %H:%M %Z}" for one in starts if one > oldest_s]


def traffic(monday: datetime, zone: str) -> pd.DataFrame:
    """Waking hours of five Mondays, the last being ``monday``; from eight to six by the local clocks all is larger."""
    random, parts = np.random.default_rng(0), []
    for week in range(-4, 1):
        for hour in range(5, 22):
            at_s = start_s(monday + timedelta(weeks=week, hours=hour), zone)
            mean = 2.0 if 8 <= hour < 18 else 0.0
            parts.append(pd.DataFrame({"x": random.normal(mean, 1.0, ROWS), "at": at_s + 1.0}))
    return pd.concat(parts)


def drifted_hours(monday: datetime, zone: str, goes_by: str) -> list[str]:
    """Local hours of ``monday`` whose windows are called drifted, where the season goes by the clocks of a zone."""
    data = traffic(monday, zone)
    of = monitor(goes_by)
    expected = build_reference(data[["x"]], of, seconds=data["at"].to_numpy())
    windows = OfflineWindows(of, expected, STREAM, Span(0.0, 1.0, "at"))
    windows.add(data)
    results = [one for one in windows.evaluate().results if one.detector == "window"]
    last = [one for one in results if one.window.start_s >= start_s(monday, zone)]
    # By other clocks the first hour, or the last, was not there before: it is compared with the file.
    compared = [one for one in last if "against seasonal baseline" in one.reason]
    assert len(compared) >= len(last) - 1 == 16
    return [
        f"{datetime.fromtimestamp(one.window.start_s, ZoneInfo(zone)):%H}"
        for one in compared
        if one.verdict is Verdict.DRIFTED
    ]


@pytest.mark.parametrize("zone", MONDAYS)
def test_a_day_by_local_clocks_is_quiet_after_they_changed_where_its_zone_is_told(zone: str) -> None:
    assert drifted_hours(MONDAYS[zone], zone, zone) == []


@pytest.mark.parametrize(
    ("zone", "hours"),
    [
        ("Europe/Berlin", ["08", "18"]),
        ("America/New_York", ["07", "17"]),
        ("Australia/Sydney", ["07", "17"]),
        ("Asia/Kolkata", []),
    ],
)
def test_without_its_zone_the_hours_where_its_day_begins_and_ends_are_called_drifted(
    zone: str, hours: list[str]
) -> None:
    assert drifted_hours(MONDAYS[zone], zone, "UTC") == hours


def test_an_hour_that_was_missing_has_no_window_and_one_that_came_twice_has_two() -> None:
    # In Berlin 02:00 to 03:00 of 2026-03-29 never came, and that of 2026-10-25 came twice.
    assert found(local(4, 12, 2), "Europe/Berlin", 3) == ["04-05 02:00 CEST", "03-22 02:00 CET"]
    assert found(local(11, 1, 2), "Europe/Berlin", 2) == [
        "10-25 02:00 CET",
        "10-25 02:00 CEST",
        "10-18 02:00 CEST",
    ]
    for fold in (0, 1):
        assert found(local(10, 25, 2), "Europe/Berlin", 1, fold=fold) == ["10-18 02:00 CEST"]


def test_long_windows_are_compared_with_those_that_hold_most_of_the_same_hours() -> None:
    # A day of UTC begins at one or at two in Berlin; of six hours as of a day, the same ones are the nearest.
    for hours in (6, 24):
        begin_s = datetime(2026, 3, 31, tzinfo=UTC).timestamp()
        key = WindowKey(STREAM, ALL_ROWS, begin_s, begin_s + hours * HOUR_S)
        spec = ReferenceSpec(path="r", baseline="seasonal", windows=3, time_zone="Europe/Berlin")
        assert candidates(key, spec) == [begin_s - week * WEEK_S for week in range(1, 7)]
    # Samoa had no 2011-12-30 at all, whose Friday no window can be compared with.
    assert found(local(1, 6, year=2012), "Pacific/Apia", 2, DAY_S) == ["12-23 00:00 -10"]


@given(
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Africa/Casablanca"]),
    hour=st.integers(380_000, 500_000),
    week=st.integers(1, 30),
    size_h=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_windows_are_those_whose_local_date_and_time_lie_whole_weeks_before(
    zone: str, hour: int, week: int, size_h: float
) -> None:
    size_s, begin_s, clocks = size_h * HOUR_S, hour * HOUR_S, ZoneInfo(zone)
    wanted = datetime.fromtimestamp(begin_s, clocks).replace(tzinfo=None) - timedelta(weeks=week)
    around = [begin_s - week * WEEK_S + place * size_s for place in range(-8, 9)]
    by_hand = [one for one in around if datetime.fromtimestamp(one, clocks).replace(tzinfo=None) == wanted]
    spec = ReferenceSpec(path="r", baseline="seasonal", windows=100, time_zone=zone)
    of_the_week = [
        one
        for one in candidates(WindowKey(STREAM, ALL_ROWS, begin_s, begin_s + size_s), spec)
        if abs(one - (begin_s - week * WEEK_S)) < DAY_S
    ]
    assert of_the_week == by_hand[::-1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            "time_zone: Europe/Berln",
            "reference.time_zone: .* IANA time zone, such as Europe/Berlin .found 'Europe/Berln'",
        ),
        ("time_zone: ../../etc/passwd", "reference.time_zone: .* IANA time zone, such as Europe/Berlin or UTC .found"),
        ("time_zone: localtime", "reference.time_zone: .* IANA time zone"),
        ("time_zone: 2", "reference.time_zone: must be a text"),
        (
            "time_zone: Europe/Berlin, baseline: rolling",
            "time_zone Europe/Berlin is for baseline: seasonal .found roll",
        ),
    ],
)
def test_a_wrong_zone_is_refused_with_its_field_and_value(fields: str, message: str) -> None:
    text = f"model: m\ntask: binary\ncolumns: [{{name: x, type: numeric}}]\nreference: {{path: r, {fields}}}"
    with pytest.raises(MonitorError, match=message):
        parse_monitor(text, "m.yaml")


def test_a_zone_is_written_as_it_was_read_and_told_with_what_is_compared() -> None:
    of = monitor("Europe/Berlin")
    assert parse_monitor(dump_monitor(of), "again.yaml") == of
    assert "time_zone" not in dump_monitor(monitor("UTC"))
    data = traffic(MONDAYS["Europe/Berlin"], "Europe/Berlin")
    windows = OfflineWindows(of, build_reference(data[["x"]], of), STREAM, Span(0.0, 1.0, "at"))
    windows.add(data)
    assert any(
        "against seasonal baseline by the clocks of Europe/Berlin of 4 windows" in one.reason
        for one in windows.evaluate().results
    )
