"""Events over HTTP: two as KServe posts them or one of ours, whole once each, whatever the server does meanwhile."""

import contextlib
import http.server
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, from_structured_event
from cloudevents.core.formats.json import JSONFormat

from driftline.errors import SettingsError, UnavailableError
from driftline.events import InferenceEvent, Payload, decode_inference
from logger_sidecar.shipping.settings import ShipperSettings
from logger_sidecar.shipping.sink_http import HttpSink
from logger_sidecar.shipping.sink_urls import parse
from logger_sidecar.shipping.sinks import open_sink
from tests.parts.processes import refusing_socket


class Seen(NamedTuple):
    headers: dict[str, str]
    body: bytes
    path: str
    connection: int


class Receiver:
    """A server that keeps what it is posted and answers as told: ``answer`` says the status for each post."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.answer: Callable[[Seen], int] = lambda _seen: 202
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(headers, body, self.path, self.client_address[1])
                status = receiver.answer(seen)
                if status == 0:  # goes without a word
                    self.close_connection = True
                    return
                if 200 <= status < 300:
                    receiver.seen.append(seen)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_request(self, *_args: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(context)
    try:
        yield receiver
    finally:
        receiver.close()


def sink(url: str) -> HttpSink:
    return HttpSink(parse(url), lambda: 5.0)


def event(number: int, **changes: object) -> InferenceEvent:
    given = {
        "id": f"id-{number}",
        "source": "/ns/workload/pod",
        "namespace": "ns",
        "model": "iris",
        "model_version": "3",
        "variant": "canary",
        "time_ns": 1_700_000_000_250_000_000,
        "duration_ms": 1250.0,
        "request_id": f"r {number}%ü",
        "protocol": "v2",
        "status_code": 200,
        "request": Payload(content_type="application/json", headers={"x-tenant": 'a"b'}, body=b'{"inputs": [1]}'),
        "response": Payload(content_type="application/octet-stream", content_encoding="gzip", body=b"\x1f\x8b\x00"),
    }
    return InferenceEvent(**{**given, **changes})  # type: ignore[arg-type]


def test_kserves_two_events_have_its_headers_and_the_bodies_as_they_were() -> None:
    with receiving() as receiver:
        one = sink(f"http://127.0.0.1:{receiver.port}/log?form=kserve")
        assert one.deliver([event(1)]) == {}
        one.close()
    request, response = receiver.seen
    assert {name: value for name, value in request.headers.items() if name not in ("host", "accept-encoding")} == {
        "ce-specversion": "1.0",
        "ce-type": "org.kubeflow.serving.inference.request",
        "ce-id": "id-1",
        "ce-source": "/ns/workload/pod",
        "ce-time": "2023-11-14T22:13:20.250000000Z",
        "ce-recordedtime": "1970-01-01T00:00:05.000000000Z",
        "ce-inferenceservicename": "workload",
        "ce-namespace": "ns",
        "ce-component": "predictor",
        "ce-endpoint": "canary",
        "ce-metadata": '{"x-tenant":["a\\"b"]}',
        "ce-requestid": "r%201%25%C3%BC",
        "ce-modelid": "iris",
        "ce-modelversion": "3",
        "ce-protocol": "v2",
        "ce-statuscode": "200",
        "ce-durationms": "1250.0",
        "ce-samplerate": "1.0",
        "ce-truncated": "false",
        "content-type": "application/json",
        "content-length": "15",
    }
    assert (request.body, response.body, request.path) == (b'{"inputs": [1]}', b"\x1f\x8b\x00", "/log")
    assert response.headers["ce-type"] == "org.kubeflow.serving.inference.response"
    assert response.headers["ce-id"] == "id-1"
    assert response.headers["ce-time"] == "2023-11-14T22:13:21.500000000Z"
    assert (response.headers["content-type"], response.headers["content-encoding"]) == (
        "application/octet-stream",
        "gzip",
    )
    assert response.headers["ce-metadata"] == "{}"
    for seen, kind in ((request, "request"), (response, "response")):
        found = from_binary_event(HTTPMessage(seen.headers, seen.body), JSONFormat())
        assert (found.get_id(), found.get_type()) == ("id-1", f"org.kubeflow.serving.inference.{kind}")
        assert found.get_extension("requestid") == "r 1%ü"


def test_a_missing_content_type_stays_missing_and_nothing_breaks_a_header() -> None:
    with receiving() as receiver:
        one = sink(f"http://127.0.0.1:{receiver.port}/")
        odd = event(1, request=Payload(body=b"x"), response=Payload(content_type="a/b\r\nx: y"), variant="a\r\nb")
        assert one.deliver([odd]) == {}
        one.close()
    request, response = receiver.seen
    assert "content-type" not in request.headers
    assert response.headers["content-type"] == "a/b??x: y"
    assert request.headers["ce-endpoint"] == "a%0D%0Ab"


@pytest.mark.parametrize("form", ["binary", "structured"])
def test_one_event_is_read_by_the_cloudevents_library(form: str) -> None:
    with receiving() as receiver:
        one = sink(f"http://127.0.0.1:{receiver.port}/?form={form}")
        given = event(1, request=Payload(content_type="application/json", body=b'{"a":\n [1]}'))
        assert one.deliver([given]) == {}
        one.close()
    [seen] = receiver.seen
    read = from_binary_event if form == "binary" else from_structured_event
    found = read(HTTPMessage(seen.headers, seen.body), JSONFormat())
    assert (found.get_id(), found.get_source(), found.get_subject()) == ("id-1", "/ns/workload/pod", "iris/3")
    assert found.get_extension("requestid") == "r 1%ü"
    data = found.get_data()
    data = data if isinstance(data, dict) else json.loads(data)
    assert data["request"]["body"] == {"a": [1]}
    if form == "binary":
        headers = [(f"ce_{name}", str(value).encode()) for name, value in found.get_attributes().items()]
        kept = [(name, value) for name, value in headers if name not in ("ce_time", "ce_datacontenttype")]
        kept.append(("ce_time", seen.headers["ce-time"].encode()))
        assert decode_inference(kept, seen.body) == given


def test_connections_are_kept_and_bounded() -> None:
    with receiving() as receiver:
        one = sink(f"http://127.0.0.1:{receiver.port}/?connections=3")
        for start in range(0, 60, 20):
            assert one.deliver([event(number) for number in range(start, start + 20)]) == {}
        one.close()
    assert len(receiver.seen) == 120
    assert len({seen.connection for seen in receiver.seen}) <= 3


def test_what_a_batch_delivered_is_not_sent_again_with_the_rest() -> None:
    with receiving() as receiver:
        failures = Counter({"id-3": 2, "id-7": 1})

        def answer(seen: Seen) -> int:
            identity = seen.headers["ce-id"]
            if seen.headers["ce-type"].endswith("response") and failures[identity]:
                failures[identity] -= 1
                return 503
            return 202

        receiver.answer = answer
        one = sink(f"http://127.0.0.1:{receiver.port}/?connections=2")
        events = [event(number) for number in range(10)]
        tries = 0
        while True:
            tries += 1
            try:
                refused = one.deliver(events)
            except UnavailableError:
                continue
            break
        one.close()
    assert (refused, 2 <= tries <= 4) == ({}, True)
    assert Counter(seen.headers["ce-id"] for seen in receiver.seen) == dict.fromkeys((one.id for one in events), 2)


def test_what_is_refused_is_named_and_the_others_arrive() -> None:
    with receiving() as receiver:
        receiver.answer = lambda seen: 413 if seen.headers["ce-id"] == "id-2" else 200
        one = sink(f"http://127.0.0.1:{receiver.port}/")
        assert one.deliver([event(number) for number in range(4)]) == {2: "http_413"}
        one.close()
    assert Counter(seen.headers["ce-id"] for seen in receiver.seen) == {"id-0": 2, "id-1": 2, "id-3": 2}


@pytest.mark.parametrize("status", [301, 302, 308, 401, 403, 404, 405, 408, 429, 500, 502, 503])
def test_a_server_that_is_not_well_or_does_not_let_us_in_or_is_elsewhere_is_waited_for(status: int) -> None:
    with receiving() as receiver:
        receiver.answer = lambda _seen: status
        one = sink(f"http://127.0.0.1:{receiver.port}/")
        with pytest.raises(UnavailableError, match=str(status)):
            one.deliver([event(1)])
        receiver.answer = lambda _seen: 200
        assert one.deliver([event(1)]) == {}
        one.close()


def test_a_connection_that_was_closed_while_idle_is_opened_again() -> None:
    with receiving() as receiver:
        one = sink(f"http://127.0.0.1:{receiver.port}/?connections=1&form=structured")
        one.deliver([event(1)])
        first = [True]

        def answer(_seen: Seen) -> int:
            return 0 if first and first.pop() else 200

        receiver.answer = answer
        assert one.deliver([event(2)]) == {}
        one.close()
    assert len(receiver.seen) == 2


def test_a_server_that_is_not_there_is_unavailable_and_one_that_is_silent_meets_the_deadline() -> None:
    with receiving() as receiver:
        port = receiver.port
        release = threading.Event()

        def answer(_seen: Seen) -> int:
            release.wait(60)
            return 200

        receiver.answer = answer
        one = sink(f"http://127.0.0.1:{port}/?timeout=0.1&connections=2")
        with pytest.raises(UnavailableError, match="timed out"):
            one.deliver([event(number) for number in range(10)])
        release.set()
        one.close()
    with refusing_socket() as (_, gone), pytest.raises(UnavailableError, match="refused") as caught:
        sink(f"http://127.0.0.1:{gone}/").deliver([event(1)])
    assert str(caught.value).count("unavailable") == 1


def test_mutual_tls_and_a_token_that_is_renewed(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    mine = authority.issue_cert("sidecar@example.org")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    token = tmp_path / "token"
    token.write_text("first\n")
    with receiving(context) as receiver:
        where = f"https://127.0.0.1:{receiver.port}/?form=structured&timeout=20"
        files = f"&cert_file={tmp_path}/cert.pem&key_file={tmp_path}/key.pem&token_file={token}"
        one = sink(f"{where}{files}&ca_file={tmp_path}/ca.pem")
        assert one.deliver([event(1)]) == {}
        token.write_text("second, which is longer\n")
        assert one.deliver([event(2)]) == {}
        one.close()
        for wrong in (f"{where}{files}&ca_file={tmp_path}/other.pem", f"{where}&ca_file={tmp_path}/ca.pem"):
            with pytest.raises(UnavailableError) as caught:
                sink(wrong).deliver([event(3)])
            assert "second" not in str(caught.value)
    assert [seen.headers["authorization"] for seen in receiver.seen] == [
        "Bearer first",
        "Bearer second, which is longer",
    ]


def test_a_certificate_that_is_not_there_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    url = parse(f"https://host/?ca_file={tmp_path}/none.pem")
    with pytest.raises(SettingsError, match=r"none\.pem"):
        open_sink(url, ShipperSettings())
