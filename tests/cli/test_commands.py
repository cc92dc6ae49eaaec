"""The commands that read and write files, run as a person runs them."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from driftline import names
from driftline.cli.app import app
from driftline.monitors import parse_monitor

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def test_schema_prints_json() -> None:
    assert json.loads(run("schema").stdout)["title"] == "driftline monitor"


def test_rules_and_routes_are_written_for_every_monitor(tmp_path: Path) -> None:
    done = run("alerts", "build", "--monitors", str(EXAMPLES / "monitors"), "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    rules = yaml.safe_load((tmp_path / "driftline-rules.yaml").read_text())
    text = json.dumps(rules)
    assert "house-price" in text
    assert "fraud" in text
    routes = (tmp_path / "alertmanager.yaml").read_text()
    assert names.PAGE_DESK_PATH in routes


def test_check_says_when_each_alert_would_fire() -> None:
    done = run("alerts", "check", "--monitors", str(EXAMPLES / "monitors"))
    assert done.exit_code == 0, done.output
    assert "payments-fraud-availability: 99.95 % good over 30d" in done.output
    assert "burn rate 14.4, 2 % of the budget" in done.output


def test_check_refuses_an_unknown_detector_by_name(tmp_path: Path) -> None:
    text = (EXAMPLES / "monitors" / "fraud.yaml").read_text().replace("[ks, wasserstein]", "[kss]")
    (tmp_path / "fraud.yaml").write_text(text)
    done = run("alerts", "check", "--monitors", str(tmp_path))
    assert done.exit_code != 0
    assert "'kss'" in str(done.exception)
    assert "'ks'" in str(done.exception)


def test_boards_are_written_with_their_provisioning(tmp_path: Path) -> None:
    assert run("dashboards", "build", "--out", str(tmp_path)).exit_code == 0
    assert len(list(tmp_path.rglob("*.json"))) == 5
    assert list(tmp_path.rglob("*.yaml"))


def test_inject_reads_standard_input_and_is_idempotent() -> None:
    once = run("inject", stdin=(EXAMPLES / "deployment.yaml").read_text()).stdout
    assert "driftline-sidecar" in once
    assert run("inject", stdin=once).stdout == once


def test_init_writes_a_monitor_that_reads_back_and_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(
        "age,city,late\n" + "".join(f"{20 + i % 40},c{i % 3},{i % 2}\n" for i in range(90))
    )
    out = tmp_path / "monitors" / "late.yaml"
    arguments = ("init", "--reference", str(tmp_path / "train.csv"), "--model", "late", "--target", "late")
    assert run(*arguments, "--out", str(out)).exit_code == 0
    monitor = parse_monitor(out.read_text(), "late.yaml")
    assert monitor.reference is not None
    assert (out.parent / monitor.reference.path).exists()
    assert [(column.name, column.type) for column in monitor.columns] == [("age", "numeric"), ("city", "categorical")]
    again = run(*arguments, "--out", str(out))
    assert "exists already" in str(again.exception)
    for command in (("reference", "build", "--data-dir", str(tmp_path)), ("alerts", "check")):
        assert run(*command, "--monitors", str(out.parent)).exit_code == 0


@pytest.mark.parametrize("command", [("report", "no/model"), ("reference", "build"), ("alerts", "build")])
def test_a_missing_directory_of_monitors_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*command, "--monitors", str(tmp_path / "nowhere"))
    assert done.exit_code != 0
    assert "nowhere is not a directory of monitor files" in str(done.exception).replace(": ", " ")
