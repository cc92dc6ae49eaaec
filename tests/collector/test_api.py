"""The HTTP API, against the real desk and store."""

from typing import Any

import msgspec
import pytest
from fastapi.testclient import TestClient
from openapi_spec_validator import validate
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from collector.api.app import create_app
from collector.batches.replay import Replayer
from collector.labels.desk import LabelDesk
from collector.labels.uploads import UploadDesk
from collector.operating.health import HealthReport
from collector.operating.metrics import StoreCounters
from collector.settings import CollectorSettings
from collector.store.store import Store
from driftline.access import Access
from driftline.errors import UnavailableError
from driftline.records import Malformed
from tests.collector.helpers import Parts, batched, decode, drain, event, label, records


class FixedHealth:
    def __init__(self) -> None:
        self.state: Any = "working"

    def report(self) -> HealthReport:
        return HealthReport(self.state, "as told", 3, 1.5)


@pytest.fixture
def health() -> FixedHealth:
    return FixedHealth()


@pytest.fixture
def client(parts: Parts, health: FixedHealth) -> TestClient:
    drain(parts.collector(records([event(number) for number in range(3)])))
    return TestClient(make_app(parts, parts.store, health))


def make_app(parts: Parts, store: Store, health: FixedHealth, access: Access | None = None, **changes: Any) -> Any:
    desk = LabelDesk(store, parts.statistics, parts.monitors, parts.clock, parts.metrics)
    registry = CollectorRegistry()
    registry.register(StoreCounters(store, parts.clock))
    bounds = {"maximum_request_bytes": 20_000, "maximum_labels_per_request": 50, "maximum_upload_bytes": 20_000}
    settings = CollectorSettings(**bounds, **changes)
    uploads = UploadDesk(store, parts.directory / "uploads", parts.clock, 2)
    replayer = Replayer(store, batched(decode), parts.statistics, parts.monitors, parts.clock, settings)
    return create_app(desk, store, parts.monitors, parts.clock, registry, health, settings, uploads, replayer, access)


def as_json(*numbers: int) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(label(number, 1)) for number in numbers]


def test_one_label_and_a_list_are_taken(client: TestClient) -> None:
    assert client.post("/v1/labels", json=as_json(1)[0]).json() == {
        "received": 1,
        "refused": 0,
        "outcomes": {"joined": 1},
        "faults": [],
    }
    answer = client.post("/v1/labels", json=as_json(1, 2, 8))
    assert answer.status_code == 200
    assert answer.json()["outcomes"] == {"duplicate": 1, "joined": 1, "pending": 1}


@pytest.mark.parametrize("sent", ["object", "list", "lines"])
def test_a_label_without_a_time_was_observed_when_it_came(parts: Parts, client: TestClient, sent: str) -> None:
    timeless = b'{"request_id": "request-1", "value": 1, "model": "flights"}'
    body = {"object": timeless, "list": b"[%s]" % timeless, "lines": timeless + b"\n"}[sent]
    kind = "application/x-ndjson" if sent == "lines" else "application/json"
    answer = client.post("/v1/labels", content=body, headers={"content-type": kind})
    assert answer.json()["outcomes"] == {"joined": 1}
    found = client.get("/v1/labels", params={"model": "flights", "request_id": "request-1"}).json()
    assert [each["observed_at_s"] for each in found] == [parts.clock()]


def test_lines_with_a_broken_one_among_them_are_answered_207(client: TestClient) -> None:
    good = msgspec.json.encode(label(1, 1))
    bad_type = b'{"request_id": "request-2", "value": 1, "observed_at_s": "noon", "model": "flights"}'
    body = b"\n".join([good, b"", b"{broken", bad_type, msgspec.json.encode(label(2, 1, model="nobody"))])
    answer = client.post("/v1/labels", content=body, headers={"content-type": "application/x-ndjson; charset=utf-8"})
    assert answer.status_code == 207
    found = answer.json()
    assert found["outcomes"] == {"joined": 1, "invalid": 2, "unknown_model": 1}
    assert [fault["index"] for fault in found["faults"]] == [1, 2, 3]
    assert "observed_at_s" in found["faults"][1]["faults"][0]
    assert found["faults"][2]["request_id"] == "request-2"
    assert sum(found["outcomes"].values()) == found["received"]


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_a_refused_label_is_named_by_what_it_was_given(client: TestClient, kind: str) -> None:
    by_key = b'{"key": "order-7", "value": 1, "model": "flights"}'
    by_id = b'{"request_id": "request-2", "value": 1, "model": "nobody"}'
    lines = b"%s\n%s\n" % (by_key, by_id)
    body = lines if kind.endswith("ndjson") else b"[%s, %s]" % (by_key, by_id)
    answer = client.post("/v1/labels", content=body, headers={"content-type": kind})
    found = [{name: fault.get(name) for name in ("request_id", "key")} for fault in answer.json()["faults"]]
    assert found == [{"request_id": None, "key": "order-7"}, {"request_id": "request-2", "key": None}]


def test_when_every_label_is_refused_the_answer_is_422(client: TestClient) -> None:
    assert client.post("/v1/labels", json={"request_id": "x"}).status_code == 422


def test_a_body_that_is_no_json_is_answered_400(client: TestClient) -> None:
    answer = client.post("/v1/labels", content=b"[{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["detail"]


def test_too_much_at_once_is_answered_413(client: TestClient) -> None:
    assert client.post("/v1/labels", content=b" " * 20_001).status_code == 413
    assert client.post("/v1/labels", json=as_json(*range(51))).status_code == 413


def test_dead_letters_are_listed_and_shown(client: TestClient, parts: Parts) -> None:
    drain(parts.collector(records([Malformed("bad", "why", b"raw \xff")], "kafka:a.b:0")))
    (letter,) = client.get("/v1/deadletters", params={"reason": "bad"}).json()
    one = client.get(f"/v1/deadletters/{letter['partition']}/{letter['offset']}").json()
    assert (one["reason"], one["detail"], one["raw"]) == ("bad", "why", "raw \\xff")
    assert client.get("/v1/deadletters/kafka:a.b:0/77").status_code == 404
    assert client.get("/v1/deadletters", params={"model": "flights"}).json() == []


def test_dead_letters_are_gone_through_page_by_page(client: TestClient, parts: Parts) -> None:
    for partition in ("kafka:a:1", "kafka:a:10"):
        drain(parts.collector(records([Malformed("bad", "why", b"")] * 4, partition)))
    whole = client.get("/v1/deadletters").json()
    assert len(whole) == 8
    pages: list[Any] = []
    query: dict[str, Any] = {"limit": 3}
    while page := client.get("/v1/deadletters", params=query).json():
        pages += page
        query = {"limit": 3, "after": f"{page[-1]['partition']}/{page[-1]['offset']}"}
    assert pages == whole
    assert client.get("/v1/deadletters", params={"after": "kafka:a:1/5"}).status_code == 404
    assert client.get("/v1/deadletters", params={"after": "nonsense"}).status_code == 422


def test_a_place_is_one_letter_and_not_those_of_partitions_that_begin_alike(client: TestClient, parts: Parts) -> None:
    for partition in ("kafka:a:1", "kafka:a:10"):
        drain(parts.collector(records([Malformed("bad", "why", b"")], partition)))
    report = client.post("/v1/deadletters/replay", json={"partition": "kafka:a:1", "offset": 0}).json()
    assert report["found"] == 1


def test_metrics_come_from_the_store_and_so_survive_a_restart(client: TestClient, parts: Parts) -> None:
    client.post("/v1/labels", json=as_json(1))
    samples = scraped(client)
    assert samples["driftline_collector_rows_total"] == 3
    assert samples["driftline_judged_predictions_total"] == 1
    registry = CollectorRegistry()
    registry.register(StoreCounters(parts.store, parts.clock))
    families = {family.name: family for family in registry.collect()}
    assert sum(sample.value for sample in families["driftline_collector_rows"].samples) == 3


def scraped(client: TestClient) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def test_health_tells_stuck_from_working(client: TestClient, health: FixedHealth) -> None:
    assert client.get("/healthz").status_code == 200
    health.state = "stuck"
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()["waiting_records"]) == (503, 3)
    assert client.get("/readyz").status_code == 200


class AwayStore(Store):
    def transaction(self) -> Any:
        raise UnavailableError("database", "away")


def test_without_a_database_labels_are_refused_with_503_to_try_again(parts: Parts, url: str) -> None:
    client = TestClient(make_app(parts, AwayStore(url, prepare=False), FixedHealth()))
    answer = client.post("/v1/labels", json=as_json(1))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


def test_the_api_description_is_valid(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    validate(description)
    ours = {"/v1/labels", "/v1/labels/upload", "/v1/uploads/{upload_id}", "/api/v1.0/feedback"}
    assert ours | {"/v1/deadletters", "/healthz", "/readyz", "/metrics"} <= set(description["paths"])
    assert description["paths"]["/v1/labels"]["post"]["requestBody"]["content"].keys() == {
        "application/json",
        "application/x-ndjson",
    }
