"""Erasing over HTTP: who may, what is answered, and what the audit shows to whom."""

import pytest
from fastapi.testclient import TestClient

from driftline import access, names
from driftline.access import Access, AccessBook, Grant, TokenEntry, digest_of, new_token
from tests.collector.helpers import Parts, drain, event, records
from tests.collector.test_api import FixedHealth, make_app

FLIGHTS, OTHER = new_token(), new_token()
SCOPES = frozenset({access.DATA_ERASE, access.DATA_READ})
BOOK = AccessBook(
    (
        TokenEntry(Grant("privacy", SCOPES, ("default/flights",)), digest_of(FLIGHTS)),
        TokenEntry(Grant("elsewhere", SCOPES, ("other/*",)), digest_of(OTHER)),
    )
)


@pytest.fixture
def client(parts: Parts) -> TestClient:
    drain(parts.collector(records([event(number) for number in range(3)])))
    return TestClient(make_app(parts, parts.store, FixedHealth(), Access(lambda: BOOK)))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_what_is_erased_is_told_and_audited_under_the_tokens_name(client: TestClient) -> None:
    body = {"model": "flights", "request_id": "request-1"}
    answer = client.request("DELETE", "/v1/data", json=body, headers=bearer(FLIGHTS))
    assert (answer.status_code, answer.json()["removed"]["predictions"]) == (200, 1)
    (entry,) = client.get("/v1/data/erasures", headers=bearer(FLIGHTS)).json()
    assert (entry["id"], entry["actor"], entry["model"]) == (answer.json()["audit_id"], "privacy", "flights")
    assert entry["removed"] == answer.json()["removed"]
    assert "request-1" not in str(entry)
    assert client.get("/v1/data/erasures", headers=bearer(OTHER)).json() == []
    again = client.request("DELETE", "/v1/data", json=body, headers=bearer(FLIGHTS))
    assert (again.status_code, any(again.json()["removed"].values())) == (200, False)


def test_a_model_that_nobody_knows_is_refused_and_makes_no_series(client: TestClient, parts: Parts) -> None:
    open_to_all = TestClient(make_app(parts, parts.store, FixedHealth()))
    misspelt = open_to_all.request("DELETE", "/v1/data", json={"model": "flihgts", "request_id": "request-1"})
    assert misspelt.status_code == 404
    assert "'default/flihgts'" in misspelt.json()["detail"]
    drain(parts.collector(records([event(7, model="unmonitored")], "spool:1")))
    for body in ({"model": "unmonitored", "request_id": "r"}, {"model": "flights", "request_id": "nobody's"}):
        assert open_to_all.request("DELETE", "/v1/data", json=body).status_code == 200
    assert [entry["model"] for entry in open_to_all.get("/v1/data/erasures").json()] == ["flights", "unmonitored"]
    assert names.COLLECTOR_REMOVED.name not in {name for name, _ in parts.store.totals()}


def test_where_no_subject_is_named_the_answer_says_so(client: TestClient) -> None:
    body = {"model": "flights", "subject": "anna@example.org"}
    (note,) = client.request("DELETE", "/v1/data", json=body, headers=bearer(FLIGHTS)).json()["notes"]
    assert "'default/flights': its monitor names no subject" in note
    body = {"model": "flights", "request_id": "request-1"}
    assert client.request("DELETE", "/v1/data", json=body, headers=bearer(FLIGHTS)).json()["notes"] == []


def test_a_body_that_is_no_text_is_refused_as_described(client: TestClient) -> None:
    sent = {**bearer(FLIGHTS), "content-type": "application/json"}
    answer = client.request("DELETE", "/v1/data", content=b"\xffi0\xcb", headers=sent)
    described = client.get("/openapi.json").json()["paths"]["/v1/data"]["delete"]["responses"]
    assert answer.status_code == 400
    assert "400" in described


def test_a_token_for_other_models_erases_nothing(client: TestClient, parts: Parts) -> None:
    body = {"model": "flights", "request_id": "request-1"}
    assert client.request("DELETE", "/v1/data", json=body, headers=bearer(OTHER)).status_code == 403
    assert client.request("DELETE", "/v1/data", json=body).status_code == 401
    assert len(parts.store.known_events([(e.id, e.time_s) for e in map(event, range(3))])) == 3
    assert client.get("/v1/data/erasures", headers=bearer(FLIGHTS)).json() == []


@pytest.mark.parametrize(
    "body",
    [
        {"model": "flights"},
        {"model": "flights", "request_id": "a", "subject": "b"},
        {"model": "flights", "request_id": ""},
        {"request_id": "a"},
        {"model": "flights", "requestid": "a"},
    ],
)
def test_a_request_that_says_not_exactly_one_thing_is_refused(client: TestClient, body: dict[str, str]) -> None:
    assert client.request("DELETE", "/v1/data", json=body, headers=bearer(FLIGHTS)).status_code == 422
