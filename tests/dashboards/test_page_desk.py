"""The webhook: each incident becomes one page, however many alerts it has and however often they are sent."""

import dataclasses
import random

import pytest

from dashboards import incidents
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


def drift_ticket(status="firing", began_s=-7200.0):
    """A ticket of the same trouble, which began earlier."""
    alert = flights_alert(status)
    labels = {**alert.labels, "alertname": "DriftlineDriftBurn", "severity": "ticket", "slo": "drift"}
    starts_at_s = alert.starts_at_s + began_s
    return dataclasses.replace(alert, labels=labels, starts_at_s=starts_at_s, fingerprint="d81f7", annotations={})


def later(alert, seconds):
    return dataclasses.replace(alert, starts_at_s=alert.starts_at_s + seconds, ends_at_s=None, status="firing")


def group(status, *alerts):
    """Alertmanager's message about a whole incident."""
    labels = {"namespace": "default", "model": "flights", "concern": "quality"}
    return {"status": status, "groupLabels": labels, "truncatedAlerts": 0, **body(*alerts)}


def test_one_incident_is_one_page_which_rises_from_ticket_to_page_and_keeps_its_address(client, pages):
    (first,) = client.post(PAGE_DESK_PATH, json=body(drift_ticket())).json()["pages"]
    assert (pages.page(first).alert.labels["severity"], pages.page(first).follow_ups) == ("ticket", ())
    assert client.post(PAGE_DESK_PATH, json=body(drift_ticket(), flights_alert())).json()["pages"] == [first]
    (page,) = pages.kept.values()
    assert page.alert == flights_alert()
    assert page.alerts == (drift_ticket(), flights_alert())
    assert page.starts_at_s == drift_ticket().starts_at_s
    assert page.summary == flights_alert().annotations["summary"]
    assert page.drifted
    seen = client.get(f"/pages/{first}").text
    assert "Alerts of this incident" in seen
    assert seen.count("DriftlineDriftBurn") == 1
    assert "1 follow-up" in client.get("/pages").text
    assert sorted(name.partition("severity=")[2] for name in received(client)) == [
        '"page",slo="correctness"}',
        '"ticket",slo="drift"}',
    ]


def test_a_long_incident_tells_its_own_beginning_beside_the_newest_alerts(make_client, reader, pages):
    asked = []

    def evidence(alert, since_s):
        asked.append(since_s)
        return dataclasses.replace(flights_page(reader, alert), since_s=alert.starts_at_s - 3600)

    client = make_client(reader, evidence=evidence)
    client.post(PAGE_DESK_PATH, json=body(flights_alert()))
    (page_id,) = pages.kept
    assert "newest alert: since" not in client.get(f"/pages/{page_id}").text
    first_s = flights_alert().starts_at_s
    client.post(PAGE_DESK_PATH, json=body(dataclasses.replace(later(flights_alert(), 7200), fingerprint="other")))
    (page,) = pages.kept.values()
    assert len(page.follow_ups) == 1
    assert (page.since_s, page.newest_since_s) == (first_s - 3600, first_s + 3600)
    assert asked == [None, first_s - 3600]
    assert "newest alert: since" in client.get(f"/pages/{page_id}").text


def test_an_incident_without_such_evidence_is_bad_since_its_first_alert_at_the_latest(make_client, reader, pages):
    known = iter([None, flights_alert().starts_at_s + 3600])

    def evidence(alert, _since_s):
        return dataclasses.replace(flights_page(reader, alert), since_s=next(known))

    client = make_client(reader, evidence=evidence)
    client.post(PAGE_DESK_PATH, json=body(flights_alert()))
    client.post(PAGE_DESK_PATH, json=body(dataclasses.replace(later(flights_alert(), 7200), fingerprint="other")))
    (page,) = pages.kept.values()
    assert page.since_s == flights_alert().starts_at_s


def test_an_incident_is_open_while_one_of_its_alerts_fires(client, pages):
    client.post(PAGE_DESK_PATH, json=body(drift_ticket(), flights_alert()))
    client.post(PAGE_DESK_PATH, json=body(flights_alert("resolved")))
    (page,) = pages.kept.values()
    assert page.firing
    assert page.ends_at_s is None
    assert "open" in client.get("/pages").text
    client.post(PAGE_DESK_PATH, json=body(drift_ticket("resolved")))
    (page,) = pages.kept.values()
    assert page.ends_at_s == flights_alert("resolved").ends_at_s


def test_what_begins_again_within_a_day_is_the_same_incident_and_later_a_new_one(client, pages):
    client.post(PAGE_DESK_PATH, json=body(flights_alert("resolved")))
    client.post(PAGE_DESK_PATH, json=body(later(flights_alert(), 20 * 3600)))
    (page,) = pages.kept.values()
    assert [alert.status for alert in page.alerts] == ["resolved", "firing"]
    ended = dataclasses.replace(page.alerts[1], status="resolved", ends_at_s=page.alerts[1].starts_at_s + 60)
    client.post(PAGE_DESK_PATH, json=body(ended, later(flights_alert(), 50 * 3600)))
    assert len(pages.kept) == 2


@pytest.mark.parametrize("other", [{"model": "trains"}, {"namespace": "shop"}, {"concern": "serving"}, {"concern": ""}])
def test_another_model_or_concern_is_another_incident(client, pages, other):
    alert = drift_ticket()
    alert.labels.update(other)
    client.post(PAGE_DESK_PATH, json=body(flights_alert(), alert))
    assert len(pages.kept) == 2


def test_a_ticket_that_a_page_silenced_is_over_with_the_incident_and_may_still_be_told_again(client, pages):
    client.post(PAGE_DESK_PATH, json=group("firing", drift_ticket()))
    client.post(PAGE_DESK_PATH, json=group("firing", flights_alert()))
    client.post(PAGE_DESK_PATH, json=group("resolved", flights_alert("resolved")))
    (page,) = pages.kept.values()
    assert not page.firing
    assert "over with the incident" in client.get(f"/pages/{page.id}").text
    client.post(PAGE_DESK_PATH, json=group("firing", drift_ticket()))
    (page,) = pages.kept.values()
    assert page.firing


def test_a_page_stays_readable_however_often_its_alert_comes_and_goes(client, pages):
    for hour in range(70):
        alert = later(flights_alert(), 7200 * hour)
        ended = dataclasses.replace(alert, status="resolved", ends_at_s=alert.starts_at_s + 60)
        client.post(PAGE_DESK_PATH, json=body(ended))
    (page,) = pages.kept.values()
    assert len(page.follow_ups) == 50
    assert page.starts_at_s == flights_alert().starts_at_s
    assert page.alerts[-1].starts_at_s == flights_alert().starts_at_s + 69 * 7200
    assert client.get(f"/pages/{page.id}").status_code == 200


def test_a_page_keeps_its_first_alert_whichever_is_the_gravest(client, pages):
    client.post(PAGE_DESK_PATH, json=body(drift_ticket(), flights_alert()))
    for hour in range(1, 70):
        client.post(PAGE_DESK_PATH, json=body(later(drift_ticket(), 7200 * hour)))
    (page,) = pages.kept.values()
    assert len(page.follow_ups) == 50
    assert page.starts_at_s == drift_ticket().starts_at_s
    assert page.alerts[-1].starts_at_s == drift_ticket().starts_at_s + 69 * 7200


def test_the_pages_of_many_notices_are_told_without_a_desk_as_the_desk_makes_them(client, pages):
    rng = random.Random(5)
    begun = [later(rng.choice([flights_alert(), drift_ticket()]), 3600 * rng.randrange(500)) for _ in range(60)]
    notices = [notice for alert in sorted(begun, key=lambda alert: alert.starts_at_s) for notice in told_twice(alert)]
    for notice in notices:
        client.post(PAGE_DESK_PATH, json=body(notice))
    alone = incidents.told(notices)
    assert 1 < len(alone) < len(begun)
    assert [(page.id, page.alert, page.follow_ups) for page in alone] == [
        (page.id, page.alert, page.follow_ups) for page in pages.kept.values()
    ]


def told_twice(alert):
    """As it fires, and as it was over."""
    yield alert
    yield dataclasses.replace(alert, status="resolved", ends_at_s=alert.starts_at_s + 1800)


def test_a_page_comes_even_when_its_evidence_cannot_be_read(make_client, reader, pages):
    def broken(_alert, _since_s):
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

    def build(alert, _since_s):
        return flights_page(reader, alert)

    app = create_app(reader, Away(), build, parse_plain, {}, ManualClock(0.0))
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
