"""Durations: read and written without loss, in the spelling that Prometheus reads."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.durations import format_duration, parse_duration

#: The grammar of Prometheus' own parser (common/model/time.go): each unit at most once, from the longest down.
PROMETHEUS = re.compile(r"((\d+)y)?((\d+)w)?((\d+)d)?((\d+)h)?((\d+)m)?((\d+)s)?((\d+)ms)?")


@given(st.integers(1, 10**13))
def test_whole_milliseconds_survive_writing_and_reading(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


@given(st.floats(0.0, 1e10))
def test_prometheus_reads_what_is_written(seconds: float) -> None:
    assert PROMETHEUS.fullmatch(format_duration(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("6h", 21600.0),
        ("1d", 86400.0),
        ("4w", 2419200.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        (" 1d12h ", 129600.0),
    ],
)
def test_people_write_durations_like_this(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.25, "250ms"), (90.0, "1m30s"), (28 * 86400.0, "28d"), (86399.9999, "1d"), (3661.001, "1h1m1s1ms")],
)
def test_the_shortest_exact_spelling_is_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "-5m", "5y", "1h 30m", "five minutes", "1e3s", "5mm", "nan", "1..5s", "१s"]
)
def test_other_texts_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'{text}' is not a duration")):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "0d0h", "0.0ms"])
def test_nothing_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be longer than zero"):
        parse_duration(text)
