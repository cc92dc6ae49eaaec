"""Boards: held to golden files, to names.py, and to promtool."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from dashboards.board_options import BoardOptions
from dashboards.boards import build_boards, write_boards
from driftline import rule_names
from driftline.names import ALL_METRICS
from tests.parts.board_queries import board_annotations, board_panels, board_queries

GOLDEN = Path(__file__).parent / "golden" / "boards.json"
BOARDS = build_boards(BoardOptions("http://pages.example"))
EACH_BOARD = pytest.mark.parametrize("name", sorted(BOARDS))


def compact(board):
    """What people would notice: titles, kinds, units, places and queries."""
    return {
        "title": board["title"],
        "variables": [item["name"] for item in board["templating"]["list"]],
        "annotations": dict(board_annotations(board)),
        "panels": [
            {
                "title": panel["title"],
                "type": panel["type"],
                "unit": panel["fieldConfig"]["defaults"]["unit"],
                "place": "{w}x{h}+{x}+{y}".format(**panel["gridPos"]),
                "exprs": [target["expr"] for target in panel["targets"]],
            }
            for panel in board_panels(board)
        ],
    }


def test_boards_are_what_the_golden_file_says(tmp_path):
    """Regenerate with: python -m tests.dashboards.write_golden"""
    made = {name: compact(board) for name, board in BOARDS.items()}
    assert made == json.loads(GOLDEN.read_text())


def test_titles_and_uids_are_unique_and_file_names_follow_uids():
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS) == 5
    assert {f"{board['uid']}.json" for board in BOARDS.values()} == set(BOARDS)


@EACH_BOARD
def test_every_panel_says_what_it_shows_in_which_unit_from_which_datasource(name):
    panels = list(board_panels(BOARDS[name]))
    assert panels
    for panel in panels:
        assert panel["title"]
        assert len(panel["description"]) > 10, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["options"] is not None
        assert panel["targets"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)


@EACH_BOARD
def test_panels_do_not_overlap_and_stay_within_the_grid(name):
    taken: set[tuple[int, int]] = set()
    for panel in board_panels(BOARDS[name]):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


@EACH_BOARD
def test_every_metric_is_one_that_driftline_emits(name):
    known = {metric.name for metric in ALL_METRICS}
    known |= {f"{metric.name}_{end}" for metric in ALL_METRICS for end in ("bucket", "count", "sum")}
    for title, expr in [*board_queries(BOARDS[name]), *board_annotations(BOARDS[name])]:
        used = set(re.findall(r"\b(?:driftline[_:][\w:]+|ALERTS)\b", expr))
        assert used, title
        assert used - known <= {"ALERTS", rule_names.RULE_BUDGET_REMAINING, rule_names.RULE_ARRIVED}, title


@EACH_BOARD
def test_every_query_of_a_metric_with_a_model_is_filtered_by_the_variables(name):
    labels = {metric.name: set(metric.labels) for metric in ALL_METRICS}
    for panel in board_panels(BOARDS[name]):
        for target in panel["targets"]:
            for metric, selector in re.findall(r"(driftline_\w+)(\{[^}]*\})?", target["expr"]):
                base = metric if metric in labels else re.sub(r"_(bucket|count|sum)$", "", metric)
                for variable in {"namespace", "model", "version"} & labels[base]:
                    assert f'{variable}=~"${variable}"' in selector, (panel["title"], metric)


@EACH_BOARD
def test_variables_are_asked_from_the_metrics_and_all_matches_an_empty_version(name):
    variables = {item["name"]: item for item in BOARDS[name]["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "model", "version"]
    for label in ("namespace", "model", "version"):
        assert variables[label]["allValue"] == ".*"
        assert variables[label]["query"]["query"].endswith(f", {label})")


def test_every_metric_of_names_py_is_on_some_board():
    text = json.dumps([board_queries(board) for board in BOARDS.values()])
    assert [metric.name for metric in ALL_METRICS if metric.name not in text] == []


def test_an_unknown_variable_in_a_query_is_refused():
    board = {"panels": [{"title": "t", "type": "stat", "targets": [{"expr": "up{job='$nobody'}"}]}]}
    with pytest.raises(ValueError, match=r"\$nobody"):
        board_queries(board)


def test_every_kind_of_objective_has_its_budget_on_the_executive_and_on_call_boards():
    for name in ("driftline-executive.json", "driftline-oncall.json"):
        exprs = [expr for title, expr in board_queries(BOARDS[name]) if title.endswith("error budget left")]
        kinds = {re.search(r'slo="(\w+)"', expr).group(1) for expr in exprs}
        assert kinds == set(rule_names.ALERT_OF_KIND)


def test_boards_and_provisioning_are_written_where_grafana_looks(tmp_path):
    written = write_boards(tmp_path, BoardOptions(), prometheus_url="http://127.0.0.1:9090")
    assert len(written) == 7
    source = yaml.safe_load((tmp_path / "provisioning/datasources/driftline.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://127.0.0.1:9090"
    provider = yaml.safe_load((tmp_path / "provisioning/dashboards/driftline.yaml").read_text())
    assert provider["providers"][0]["options"]["path"] == "/var/lib/grafana/dashboards"
    assert json.loads((tmp_path / "boards/driftline-oncall.json").read_text()) == json.loads(
        json.dumps(build_boards(BoardOptions())["driftline-oncall.json"])
    )


@pytest.mark.real
def test_promtool_reads_every_query_of_every_board(promtool, tmp_path):
    queries = [pair for board in BOARDS.values() for pair in [*board_queries(board), *board_annotations(board)]]
    rules = [{"record": f"board:query:{number}", "expr": expr} for number, (_, expr) in enumerate(queries)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": rules}]}))
    done = subprocess.run(
        [str(promtool), "check", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout
