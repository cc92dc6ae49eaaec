"""The shared clock never goes back, never passes its limit, and reads the same in every process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.cli.conductor import Conductor, FollowedClock, follow
from driftline.clock import ScaledClock, clock_speed
from driftline.errors import SettingsError
from driftline.testing import ManualClock

MOVES = st.lists(st.tuples(st.floats(0.0, 50.0), st.none() | st.floats(-100.0, 5000.0)), max_size=30)


@given(moves=MOVES)
def test_whatever_is_allowed_the_story_never_goes_back_nor_past_the_limit(
    moves: list[tuple[float, float | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    wall = ManualClock(1000.0)
    path = tmp_path_factory.mktemp("clock") / "clock"
    conductor = Conductor(path, story_s=0.0, speed=20.0, wall=wall)
    follower = FollowedClock(path, wall)
    told, limit_s = [conductor()], 0.0
    for seconds, allowed_s in moves:
        wall.advance(seconds)
        told.append(follower())
        if allowed_s is not None:
            conductor.allow(allowed_s)
            limit_s = max(told[-1], allowed_s)
        told.append(follower())
        assert told[-1] == conductor()
        assert told[-1] <= limit_s
    assert told == sorted(told)


def test_another_process_follows_the_same_clock(tmp_path: Path) -> None:
    conductor = Conductor(tmp_path / "clock", story_s=5000.0, speed=1e-6)
    conductor.allow(6000.0)
    script = "import sys; from driftline.cli.conductor import follow; print(follow(sys.argv[1])())"
    done = subprocess.run(
        [sys.executable, "-c", script, conductor.spec()], capture_output=True, text=True, check=True, env=os.environ
    )
    assert float(done.stdout) == pytest.approx(5000.0, abs=0.1)
    assert clock_speed(follow(conductor.spec())) == 1e-6


def test_other_clocks_are_read_as_before_and_a_missing_file_is_named(tmp_path: Path) -> None:
    assert isinstance(follow("scaled:0:0:2"), ScaledClock)
    with pytest.raises(SettingsError, match="nowhere"):
        follow(f"shared:{tmp_path / 'nowhere'}")
