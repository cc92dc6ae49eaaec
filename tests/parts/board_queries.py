"""Every query of a board, as Prometheus would be asked."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dashboards.boards import Board

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")


def board_queries(
    board: Board,
    *,
    namespace: str = ".*",
    model: str = ".*",
    version: str = ".*",
    rate_window: str = "5m",
    shown_range: str = "1h",
) -> list[tuple[str, str]]:
    """Every query of a board with its variables filled in, as (panel title, expression).

    What Grafana would ask Prometheus: a test that runs these finds the panels that would be empty.
    """
    values = {
        "namespace": namespace,
        "model": model,
        "version": version,
        "__rate_interval": rate_window,
        "__range": shown_range,
        "__interval": rate_window,
    }
    return [
        (str(panel["title"]), _fill(str(target["expr"]), values))
        for panel in board_panels(board)
        for target in panel.get("targets", ())
    ]


def board_annotations(board: Board) -> list[tuple[str, str]]:
    """The annotation queries of a board, filled in like :func:`board_queries`."""
    values = {"namespace": ".*", "model": ".*", "version": ".*"}
    return [(str(made["name"]), _fill(str(made["expr"]), values)) for made in board["annotations"]["list"]]


def board_panels(board: Board) -> Iterator[dict[str, Any]]:
    """Every panel that shows data, also those inside rows."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels") or ()
        else:
            yield panel


def _fill(expr: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name not in values:
            raise ValueError(f"query uses the unknown variable '${name}': {expr}")
        return values[name]

    return _VARIABLE.sub(value, expr)
