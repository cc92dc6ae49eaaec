"""What commands wire before they begin."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from alerts.alertmanager import AlertmanagerOptions
from alerts.settings import EvaluatorSettings
from collector.settings import CollectorSettings
from dashboards.settings import WebSettings
from detectors.settings import DetectorsSettings
from driftline import names
from driftline.cli import wiring
from driftline.cli.app import app
from driftline.cli.ports import HOST, Ports

PROGRAM = """
import os
from driftline.cli import app, run, wiring
wiring.one_thread_per_product()
import numpy
print(len(os.listdir("/proc/self/task")))
"""


def test_products_of_matrices_take_one_thread_where_it_is_said_before_numpy_is_there() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", PROGRAM]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=environ)
    assert found.stdout.strip() == "1"


def test_parts_listen_by_default_where_the_commands_look_for_them() -> None:
    ports = Ports()
    assert (CollectorSettings().port, DetectorsSettings().port) == (ports.collector, ports.detectors)
    assert WebSettings().port == ports.web
    desk = f"http://{HOST}:{ports.web}{names.PAGE_DESK_PATH}"
    assert EvaluatorSettings().page_desk_url == AlertmanagerOptions().page_desk_url == desk


def monitor_with(directory: Path, rows: pd.DataFrame, kept_rows: int) -> wiring.MonitorFile:
    rows.to_csv(directory / "train.csv", index=False)
    path = directory / "m.yaml"
    path.write_text(
        "model: m\ntask: binary\ncolumns: [{name: age, type: numeric}]\n"
        "reference: {path: train.csv, predictions: false}\n"
        f"detectors: {{multivariate: [mmd], kept_rows: {kept_rows}}}\n"
    )
    return wiring.load_monitor_files(directory)["default/m"]


def test_rows_that_left_the_reference_file_are_in_no_artefact_any_more(tmp_path: Path) -> None:
    rows = pd.DataFrame({"age": np.arange(300.0)})
    cache = tmp_path / "references"
    (tmp_path / "monitors").mkdir()
    before = wiring.load_references({"default/m": monitor_with(tmp_path / "monitors", rows, 300)}, cache)["default/m"]
    assert 77.0 in before.rows[""]
    (cache / "default-m-other-0123456789abcdef.reference").touch()  # of another model
    after = wiring.load_references({"default/m": monitor_with(tmp_path / "monitors", rows.drop(77), 300)}, cache)
    assert 77.0 not in after["default/m"].rows[""]
    kept = sorted(path.name for path in cache.iterdir())
    assert len(kept) == 2
    assert kept[1] == "default-m-other-0123456789abcdef.reference"


def test_references_are_built_and_checked_with_what_was_looked_at(tmp_path: Path) -> None:
    (tmp_path / "monitors").mkdir()
    days = pd.date_range("2026-01-01", periods=3000, freq="10min")
    rows = pd.DataFrame({"age": np.random.default_rng(0).normal(size=3000), "seen": days})
    monitor_with(tmp_path / "monitors", rows, 300)
    named = ["--monitors", str(tmp_path / "monitors")]
    built = CliRunner().invoke(app, ["reference", "build", *named, "--data-dir", str(tmp_path / "data")])
    assert built.exit_code == 0
    assert "default/m: reference " in built.output
    assert "3,000 rows, 2 columns, 0 segments, 21d long, keeps 300 rows (detectors.kept_rows)" in built.output
    looked_at = "size, columns, outlier scores, rows in a row, the second half by the first, the span by 'seen'"
    assert f"looked at {looked_at}" in built.output
    checked = CliRunner().invoke(app, ["reference", "check", *named])
    assert checked.exit_code == 1
    assert "1 weakness; looked at" in checked.output
    assert "a window of 100 rows against 3,000 shows only effects from" in checked.output


def test_a_reference_without_times_says_that_its_span_was_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "monitors").mkdir()
    monitor_with(tmp_path / "monitors", pd.DataFrame({"age": np.random.default_rng(0).normal(size=3000)}), 300)
    checked = CliRunner().invoke(app, ["reference", "check", "--monitors", str(tmp_path / "monitors")])
    assert "no span of time (--time names the column)" in checked.output
