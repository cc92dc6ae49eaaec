"""All boards with their provisioning files.

>>> sorted(build_boards(BoardOptions()))[0]
'driftline-debug.json'
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dashboards.board_options import BoardOptions
from dashboards.boards_debug import debug
from dashboards.boards_executive import executive
from dashboards.boards_oncall import oncall
from dashboards.boards_pipeline import pipeline_health
from dashboards.boards_quality import model_quality
from dashboards.panels import board_json

Board = dict[str, Any]
_PLAIN = BoardOptions()
_MAKERS = (executive, oncall, debug, model_quality, pipeline_health)


def build_boards(options: BoardOptions) -> dict[str, Board]:
    """Every board by its file name, as Grafana reads it. The same options always make the same boards."""
    specs = [make(options) for make in _MAKERS]
    return {f"{spec.uid}.json": board_json(spec) for spec in specs}


# --- files --------------------------------------------------------------------------------------------------------
def datasource_provisioning(prometheus_url: str, alertmanager_url: str | None = None) -> str:
    """Grafana's datasource file: Prometheus, and Alertmanager where there is one."""
    sources: list[dict[str, Any]] = [
        {
            "name": "Prometheus",
            "uid": "prometheus",
            "type": "prometheus",
            "access": "proxy",
            "url": prometheus_url,
            "isDefault": True,
            "jsonData": {"httpMethod": "POST", "timeInterval": "15s"},
        }
    ]
    if alertmanager_url:
        sources.append(
            {
                "name": "Alertmanager",
                "uid": "alertmanager",
                "type": "alertmanager",
                "access": "proxy",
                "url": alertmanager_url,
                "jsonData": {"implementation": "prometheus"},
            }
        )
    return yaml.safe_dump({"apiVersion": 1, "datasources": sources}, sort_keys=False)


def dashboards_provisioning(boards_path: str) -> str:
    """Grafana's dashboards file: where, inside Grafana's container, the boards lie."""
    provider = {
        "name": "driftline",
        "orgId": 1,
        "folder": "driftline",
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 30,
        "options": {"path": boards_path, "foldersFromFilesStructure": False},
    }
    return yaml.safe_dump({"apiVersion": 1, "providers": [provider]}, sort_keys=False)


def write_boards(
    out_dir: Path,
    options: BoardOptions = _PLAIN,
    *,
    prometheus_url: str = "http://prometheus:9090",
    alertmanager_url: str | None = "http://alertmanager:9093",
    boards_path: str = "/var/lib/grafana/dashboards",
) -> Sequence[Path]:
    """Write boards and provisioning below ``out_dir`` and return what was written.

    ``out_dir/boards/*.json`` belongs at ``boards_path``, ``out_dir/provisioning`` at ``/etc/grafana/provisioning``.
    """
    files = {
        f"boards/{name}": json.dumps(board, indent=2, sort_keys=True) + "\n"
        for name, board in build_boards(options).items()
    }
    files["provisioning/datasources/driftline.yaml"] = datasource_provisioning(prometheus_url, alertmanager_url)
    files["provisioning/dashboards/driftline.yaml"] = dashboards_provisioning(boards_path)
    written = []
    for name, text in sorted(files.items()):
        path = out_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
