"""The pages over the fake month, as a client in process."""

import pytest
from starlette.testclient import TestClient

from dashboards.settings import WebSettings
from dashboards.web import create_app
from driftline.errors import EventError
from driftline.results import Alert
from driftline.testing import ManualClock
from tests.dashboards.fakes import MONITOR, NOW_S, FakePages, FakeReader, flights_page, flights_reader

PLAIN = WebSettings()


def parse_plain(body: dict) -> list[Alert]:
    """A webhook whose alerts are written as our own type; the real format is the alerts room's."""
    if not isinstance(body.get("alerts"), list):
        raise EventError("alert webhook", [f"alerts is {type(body.get('alerts')).__name__}, not a list"])
    return [Alert(**alert) for alert in body["alerts"]]


@pytest.fixture(scope="session")
def reader() -> FakeReader:
    return flights_reader()


@pytest.fixture
def pages() -> FakePages:
    return FakePages()


@pytest.fixture(scope="session")
def client_over():
    """Makes the pages over a reader and kept pages of one's own."""

    def make(found, pages, evidence=None, settings=PLAIN, clock=None, monitors=None):
        build = evidence or (lambda alert, since_s: flights_page(found, alert))
        chosen = {MONITOR.name: MONITOR} if monitors is None else monitors
        app = create_app(found, pages, build, parse_plain, chosen, clock or ManualClock(NOW_S), settings)
        return TestClient(app, raise_server_exceptions=False)

    return make


@pytest.fixture
def make_client(client_over, pages):
    return lambda reader, **options: client_over(reader, pages, **options)


@pytest.fixture
def client(make_client, reader):
    return make_client(reader)
