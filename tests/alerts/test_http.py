"""The embedded evaluation over real HTTP: metrics pages that answer or do not, a desk that takes, is out or refuses."""

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, start_http_server

from alerts.http import MetricsScraper, WebhookDelivery
from driftline.errors import PermanentError, UnavailableError
from driftline.results import Alert
from tests.parts.http import WebhookReceiver

ALERT = Alert("firing", {"alertname": "A"}, {"summary": "s"}, 60.0, None, "f")


@pytest.fixture
def page() -> Iterator[str]:
    registry = CollectorRegistry()
    Counter("answers", "Answers.", ["code"], registry=registry).labels("200").inc(3)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
    server.shutdown()
    server.server_close()
    thread.join(60)


def _dead_address() -> str:
    return "http://127.0.0.1:1/metrics"  # nobody listens on port 1


def test_samples_carry_the_target_they_came_from(page: str) -> None:
    with MetricsScraper([page]) as scrape:
        samples = {sample.name: sample for sample in scrape()}
    assert samples["answers_total"].value == 3.0
    assert samples["answers_total"].labels == {"code": "200", "instance": page}


def test_a_dead_target_is_a_counted_gap_and_the_others_are_read(page: str) -> None:
    with MetricsScraper([_dead_address(), page], timeout_s=1.0) as scrape:
        assert any(sample.name == "answers_total" for sample in scrape())
        list(scrape())
        assert scrape.failures == {_dead_address(): 2, page: 0}


def test_a_page_that_is_no_metrics_page_is_a_gap(webhook_receiver: WebhookReceiver) -> None:
    with MetricsScraper([webhook_receiver.url]) as scrape:
        assert list(scrape()) == []
        assert scrape.failures[webhook_receiver.url] == 1


def test_alerts_arrive_as_alertmanagers_message(webhook_receiver: WebhookReceiver) -> None:
    with WebhookDelivery(webhook_receiver.url, "http://x") as deliver:
        deliver([ALERT])
    assert webhook_receiver.bodies[0]["version"] == "4"
    assert webhook_receiver.bodies[0]["alerts"][0]["labels"] == {"alertname": "A"}


def _answering(*statuses: int) -> tuple[httpx.Client, list[int]]:
    """A client over httpx's own in-memory transport that answers with these statuses in turn."""
    left = list(statuses)
    given: list[int] = []

    def answer(_request: httpx.Request) -> httpx.Response:
        given.append(left.pop(0))
        return httpx.Response(given[-1])

    return httpx.Client(transport=httpx.MockTransport(answer)), given


def test_a_desk_that_is_out_for_a_moment_is_asked_again_with_growing_pauses() -> None:
    client, given = _answering(503, 429, 200)
    pauses: list[float] = []
    WebhookDelivery("http://desk/", "http://x", pause_s=0.2, sleep=pauses.append, client=client)([ALERT])
    assert given == [503, 429, 200]
    assert pauses == [0.2, 0.4]


def test_a_desk_that_stays_out_is_unavailable() -> None:
    client, _ = _answering(503, 503, 503)
    with pytest.raises(UnavailableError, match=r"http://desk/ took no alert in 3 attempts: it answered 503"):
        WebhookDelivery("http://desk/", "http://x", sleep=lambda _s: None, client=client)([ALERT])


def test_nobody_at_the_desk_is_unavailable() -> None:
    with (
        WebhookDelivery("http://127.0.0.1:1/", "http://x", sleep=lambda _s: None) as deliver,
        pytest.raises(UnavailableError, match="ConnectError"),
    ):
        deliver([ALERT])


def test_a_refusal_is_not_repeated() -> None:
    client, given = _answering(422, 200)
    with pytest.raises(PermanentError, match="refuses the alerts: it answered 422"):
        WebhookDelivery("http://desk/", "http://x", client=client)([ALERT])
    assert given == [422]
