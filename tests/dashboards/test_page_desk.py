"""The webhook: each alert becomes one page, however often it is sent."""

import dataclasses

import pytest

from driftline.errors import ReferenceDataError, UnavailableError
from driftline.names import PAGE_DESK_PATH, PAGES_RECEIVED
from tests.dashboards.fakes import flights_alert, flights_page


def body(*alerts):
    return {"alerts": [dataclasses.asdict(alert) for alert in alerts]}


def received(client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith(PAGES_RECEIVED.name + "{")
    }


def test_an_alert_becomes_a_page_with_evidence(client, pages):
    answer = client.post(PAGE_DESK_PATH, json=body(flights_alert()))
    assert answer.status_code == 200
    (page_id,) = answer.json()["pages"]
    page = pages.page(page_id)
    assert page.id == page_id
    assert page.drifted
    assert page.samples
    assert client.get(f"/pages/{page_id}").status_code == 200


def test_the_same_alert_again_changes_nothing_and_counts_once(client, pages):
    for _ in range(3):
        client.post(PAGE_DESK_PATH, json=body(flights_alert()))
    assert len(pages.kept) == pages.saves == 1
    (series,) = received(client).items()
    assert series == (
        'driftline_pages_received_total{model="flights",namespace="default",severity="page",slo="correctness"}',
        1.0,
    )


def test_resolved_updates_the_page_and_keeps_its_evidence(client, pages):
    (page_id,) = client.post(PAGE_DESK_PATH, json=body(flights_alert())).json()["pages"]
    before = pages.page(page_id)
    client.post(PAGE_DESK_PATH, json=body(flights_alert("resolved")))
    after = pages.page(page_id)
    assert after.alert.status == "resolved"
    assert dataclasses.replace(after, alert=before.alert) == before
    assert "lasted" in client.get(f"/pages/{page_id}").text
    client.post(PAGE_DESK_PATH, json=body(flights_alert()))
    assert pages.page(page_id).alert.status == "resolved"


def test_an_alert_that_begins_again_is_a_new_page(client, pages):
    again = dataclasses.replace(flights_alert(), starts_at_s=flights_alert().starts_at_s + 7200)
    client.post(PAGE_DESK_PATH, json=body(flights_alert(), again))
    assert len(pages.kept) == 2


def test_a_page_comes_even_when_its_evidence_cannot_be_read(make_client, reader, pages):
    def broken(_alert):
        raise ReferenceDataError("the reference is gone")

    client = make_client(reader, evidence=broken)
    (page_id,) = client.post(PAGE_DESK_PATH, json=body(flights_alert())).json()["pages"]
    assert "the reference is gone" in pages.page(page_id).summary
    assert client.get(f"/pages/{page_id}").status_code == 200


def test_a_store_that_is_away_makes_alertmanager_send_again(make_client, reader, pages):
    class Away:
        def pages(self, limit):
            return []

        def page(self, page_id):
            raise UnavailableError("database", "connection refused")

        def save_page(self, page):
            raise UnavailableError("database", "connection refused")

    from starlette.testclient import TestClient

    from dashboards.web import create_app
    from driftline.testing import ManualClock
    from tests.dashboards.conftest import parse_plain

    app = create_app(reader, Away(), lambda alert: flights_page(reader, alert), parse_plain, {}, ManualClock(0.0))
    answer = TestClient(app).post(PAGE_DESK_PATH, json=body(flights_alert()))
    assert answer.status_code == 503
    assert "database" in answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "not JSON"),
        (b"[1]", "holds list"),
        (b'{"alerts": 3}', "alerts is int, not a list"),
        (b'{"alerts": [{"status": "firing"}]}', "labels"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_webhook_is_refused_by_name(client, pages, content, told):
    answer = client.post(PAGE_DESK_PATH, content=content)
    assert answer.status_code == 400
    assert told in answer.json()["error"]
    assert pages.kept == {}


@pytest.mark.slow
def test_strangers_cannot_make_series_without_end(client):
    for number in range(20):
        alert = flights_alert(model=f"m{number}")
        alert.labels.update(severity=f"s{number}", slo=f"o{number}")
        client.post(PAGE_DESK_PATH, json=body(dataclasses.replace(alert, fingerprint=f"f{number}")))
    assert received(client) == {
        'driftline_pages_received_total{model="unknown",namespace="unknown",severity="unknown",slo="unknown"}': 20.0
    }


def test_the_deadman_is_no_page_but_a_sign_of_life(client, pages):
    alert = flights_alert()
    alert.labels["severity"] = "heartbeat"
    assert client.post(PAGE_DESK_PATH, json=body(alert)).json() == {"pages": []}
    assert pages.kept == {}
    assert client.get("/healthz").json()["last_heartbeat_s"] is not None
