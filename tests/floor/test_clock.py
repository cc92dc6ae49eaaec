"""Clocks: the scaled one runs as told and can be handed to another process."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.clock import ScaledClock, clock_speed, parse_clock, system_clock
from driftline.errors import SettingsError
from driftline.testing import ManualClock

moments = st.floats(0, 4e9)


@given(moments, moments, st.floats(0.001, 1e6), st.floats(0, 1e6))
def test_a_scaled_clock_runs_speed_times_as_fast(wall_s: float, story_s: float, speed: float, passed_s: float) -> None:
    wall = ManualClock(wall_s)
    clock = ScaledClock(wall_s, story_s, speed, wall)
    assert clock() == story_s
    wall.advance(passed_s)
    assert clock() == pytest.approx(story_s + (wall.now_s - wall_s) * speed)


@given(moments, moments, st.floats(0.001, 1e6))
def test_a_clock_handed_over_as_text_is_the_same_clock(wall_s: float, story_s: float, speed: float) -> None:
    clock = ScaledClock(wall_s, story_s, speed)
    assert parse_clock(clock.spec()) == clock


def test_the_system_clock_is_the_wall_clock() -> None:
    assert parse_clock("system") is system_clock is time.time


def test_the_speed_of_a_clock_is_known() -> None:
    assert clock_speed(system_clock) == 1.0
    assert clock_speed(ManualClock()) == 1.0
    assert clock_speed(ScaledClock(0.0, 0.0, 24.0)) == 24.0


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "sytem",
        "scaled",
        "scaled:1:2",
        "scaled:1:2:0",
        "scaled:1:2:-3",
        "scaled:a:b:c",
        "fast:1:2:3",
        "scaled:1:2:nan",
    ],
)
def test_a_clock_that_makes_no_sense_is_refused_by_its_text(spec: str) -> None:
    with pytest.raises(SettingsError, match=r"clock: '.*' is neither 'system' nor 'scaled:"):
        parse_clock(spec)


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5.0)
    assert (clock(), clock()) == (5.0, 5.0)
    clock.advance(2.0)
    assert clock() == 7.0
