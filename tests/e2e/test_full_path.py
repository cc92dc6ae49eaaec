"""The whole path at full size: Kafka, PostgreSQL, Prometheus and Alertmanager, real ones.

A model meets December; Prometheus fires the generated burn-rate rule, Alertmanager delivers the webhook, the page desk
puts the evidence beside it; and every query of every board has an answer in that Prometheus.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.board_options import BoardOptions
from dashboards.boards import build_boards
from driftline.cli.story.flights import DECEMBER
from driftline.names import SEVERITY, SEVERITY_PAGE, SLO
from driftline.rule_names import ALERT_OF_KIND
from tests.parts.board_queries import board_queries
from tests.parts.demo_full import FullDemo
from tests.parts.http import get_json
from tests.parts.postgres import PostgresServer
from tests.parts.processes import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real]

PAGE_TIMEOUT_S = 900
#: Scrapes must be answered within a quarter of a second in this world. On a machine that is busy with other things some
#: are not, and then their series are gone until the next: so an answer within the last minutes is one.
LATELY = "10m:1s"
ANSWERS_TIMEOUT_S = 120


@pytest.fixture(scope="module")
def full_demo(
    tmp_path_factory: pytest.TempPathFactory,
    kafka: str,
    postgres_server: PostgresServer,
    prometheus_binary: Path,
    alertmanager_binary: Path,
) -> Iterator[FullDemo]:
    database_url = postgres_server.new_database()
    with FullDemo(tmp_path_factory.mktemp("full"), kafka, database_url, output=subprocess.DEVNULL) as demo:
        yield demo
    postgres_server.drop_database(database_url)


def _woken(demo: FullDemo) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = get_json(f"{demo.addresses['web']}/api/v1/pages")
    return [page for page in pages if page["alert"]["labels"][SEVERITY] == SEVERITY_PAGE]


def _in_autumn(demo: FullDemo) -> list[str]:
    """What was said to burn, or woke somebody, before December; tickets about the start of the parts aside."""
    pages: list[dict[str, Any]] = get_json(f"{demo.addresses['web']}/api/v1/pages")
    alerts = [page["alert"] for page in pages if page["alert"]["starts_at_s"] < DECEMBER.timestamp()]
    return [
        f"{alert['labels'][SLO]} {alert['labels'][SEVERITY]}"
        for alert in alerts
        if alert["labels"][SLO] in ALERT_OF_KIND or alert["labels"][SEVERITY] == SEVERITY_PAGE
    ]


@pytest.mark.timeout(PAGE_TIMEOUT_S + 400)
def test_prometheus_fires_alertmanager_delivers_and_the_page_carries_evidence(full_demo: FullDemo) -> None:
    wait_until(lambda: bool(_woken(full_demo)), PAGE_TIMEOUT_S, "a page", pause_s=1.0)
    page = _woken(full_demo)[0]
    assert page["alert"]["labels"][SLO] == "correctness"
    assert page["drifted"]
    assert page["performance"]
    assert page["samples"]
    assert page["runbook"]
    assert _in_autumn(full_demo) == []


@pytest.mark.timeout(ANSWERS_TIMEOUT_S + 120)
def test_every_query_of_every_board_has_an_answer(full_demo: FullDemo) -> None:
    queries = [
        (f"{name}: {panel}", expression)
        for name, board in build_boards(BoardOptions()).items()
        for panel, expression in board_queries(board, rate_window="20s")
    ]
    assert len(queries) > 80
    unanswered = [query for query in queries if not full_demo.prometheus.query(query[1])]
    if unanswered:  # a counter that rose a moment ago is answered with the next scrapes
        wait_until(
            lambda: not _still(full_demo, unanswered), ANSWERS_TIMEOUT_S, f"answers to {unanswered}", pause_s=1.0
        )


def _still(demo: FullDemo, queries: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [query for query in queries if not demo.prometheus.query(f"last_over_time(({query[1]})[{LATELY}])")]
