"""What one machine's parts are started with."""

from pathlib import Path

import pytest

from driftline.cli import wiring
from driftline.cli.up import parts_of, this_machine
from driftline.errors import SettingsError

MONITOR = "model: m\ntask: regression\ncolumns: [{name: x, type: numeric}]\n"


@pytest.fixture
def monitors(tmp_path: Path) -> Path:
    (tmp_path / "m.yaml").write_text(MONITOR)
    return tmp_path


def test_all_parts_share_the_clock_of_the_environment(monitors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(wiring.ENV_CLOCK, "scaled:100.0:5000.0:60.0")
    machine = this_machine("http://127.0.0.1:9", monitors, None, monitors / "data")
    assert machine.addresses()["clock"] == "scaled:100.0:5000.0:60.0"
    assert {part.environ[wiring.ENV_CLOCK] for part in parts_of(machine)} == {"scaled:100.0:5000.0:60.0"}
    monkeypatch.delenv(wiring.ENV_CLOCK)
    assert this_machine("http://127.0.0.1:9", monitors, None, monitors / "data").addresses()["clock"] == "system"


def test_a_clock_that_is_none_is_said_before_anything_starts(monitors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(wiring.ENV_CLOCK, "sundial")
    with pytest.raises(SettingsError, match="sundial"):
        this_machine("http://127.0.0.1:9", monitors, None, monitors / "data")
