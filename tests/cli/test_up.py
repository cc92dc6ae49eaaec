"""What one machine's parts are started with."""

from pathlib import Path

import pytest
from typer import Typer
from typer.main import get_command

from driftline.cli import wiring
from driftline.cli.up import ADDRESSES_FILE, parts_of, this_machine, up
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


def test_all_parts_share_the_store_that_is_named(monitors: Path) -> None:
    url = "postgresql+psycopg://someone@db/drift"
    machine = this_machine("http://127.0.0.1:9", monitors, None, monitors / "data", url)
    assert {part.environ["DRIFTLINE_DATABASE_URL"] for part in parts_of(machine)} == {url}
    machine.write_addresses()
    assert (machine.data_dir / ADDRESSES_FILE).stat().st_mode & 0o777 == 0o600
    own = this_machine("http://127.0.0.1:9", monitors, None, monitors / "data")
    assert own.store_url == f"sqlite:///{monitors / 'data' / 'driftline.db'}"


def test_up_reads_monitors_and_store_from_the_environment() -> None:
    told = {each.name: each.envvar for each in get_command(_app()).params}
    assert (told["monitors"], told["database_url"]) == ("DRIFTLINE_MONITORS", "DRIFTLINE_DATABASE_URL")


def _app() -> Typer:
    app = Typer()
    app.command()(up)
    return app
