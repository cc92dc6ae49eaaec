"""Events over HTTP: answered 2xx once they are safe, read from the inbox, paired, and stored as rows."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings import http as ce_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from collector.api.guard import guard_app
from collector.api.problems import add_problem_handlers
from collector.labels.from_seldon import read_feedback
from collector.sources.cloud_event import CloudEvent
from collector.sources.inbox import BUSY, UNAVAILABLE, Inbox, LogInbox, Mailroom, inbox_reader
from collector.sources.interpreting import Interpreter
from collector.sources.receiver import Receiver
from driftline import names
from driftline.access import EVENTS_WRITE, Access, AccessBook, Grant, TokenEntry, digest_of, new_token
from driftline.errors import UnavailableError
from driftline.halves import Half
from driftline.results import StreamKey
from logger_sidecar.spool.source import SpoolSource
from logger_sidecar.spool.writer import SpoolWriter
from tests.collector.helpers import MONITORS, START_S, Parts, drain, event, tables
from tests.collector.sources.messages import MODELMESH_REQUEST, kserve, seldon
from tests.collector.sources.parts import outcomes, pairing_collector
from tests.parts.processes import wait_until

INTERPRETER = Interpreter(MONITORS, read_feedback)


class Post:
    """A collector's HTTP side over any inbox, with what it counts."""

    def __init__(
        self,
        inbox: Inbox,
        maximum_bytes: int = 1 << 20,
        waiting_bytes: int = 1 << 22,
        access: Access | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        app = FastAPI()
        mailroom = Mailroom(inbox, waiting_bytes)
        Receiver(mailroom, INTERPRETER, lambda: START_S, self.registry, maximum_bytes).add_routes(app)
        if access is not None:
            add_problem_handlers(app)
            guard_app(app, access, (), time.time)
        self.client = TestClient(app)
        self.client.__enter__()  # one loop for all requests, as in the server

    def __call__(self, headers: Sequence[tuple[str, str]], body: bytes, path: str = "/") -> Any:
        return self.client.post(path, content=body, headers=list(headers))

    def counted(self) -> Mapping[tuple[str, str, str], int]:
        found = {}
        for family in self.registry.collect():
            for sample in family.samples:
                if sample.name == names.SOURCE_EVENTS.name and sample.value:
                    labels = sample.labels
                    found[labels["source"], labels["outcome"], labels["reason"]] = int(sample.value)
        return found


@pytest.fixture
def open_post() -> Iterator[Callable[..., Post]]:
    opened: list[Post] = []

    def make(*arguments: Any, **named: Any) -> Post:
        opened.append(Post(*arguments, **named))
        return opened[-1]

    yield make
    for post in opened:
        post.client.__exit__(None, None, None)


def spool(directory: Path, max_bytes: int = 1 << 24) -> SpoolWriter:
    return SpoolWriter(directory, max_bytes=max_bytes, segment_bytes=max_bytes // 4, first_offset=1, fsync="batch")


def inference(number: int) -> list[tuple[list[tuple[str, str]], bytes]]:
    """Both events of the helpers' event of that number, as KServe's agent sends them."""
    whole = event(number)
    sent = []
    for kind, body in (("request", whole.request.body), ("response", whole.response.body)):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(whole.time_s))
        sent.append((kserve(kind, ce_id=f"id-{number}", ce_time=at), body))
    return sent


def test_what_was_answered_202_is_in_the_inbox_and_becomes_rows(
    open_post: Callable[..., Post], parts: Parts, url: str, tmp_path: Path
) -> None:
    source = SpoolSource(tmp_path / "inbox", "inbox", parts.store.position, decode=inbox_reader(INTERPRETER))
    post = open_post(LogInbox(spool(tmp_path / "inbox")))
    for number in range(10):
        for headers, body in reversed(inference(number)):
            assert post(headers, body).status_code == 202
    collector = pairing_collector(parts, source)
    assert drain(collector) == 20
    assert len(tables(url)["predictions"]) == 10
    assert outcomes(parts.store) == {"received": 20, "paired": 20}
    assert post.counted() == {("http", "accepted", ""): 20}
    # A sender that did hear nothing sends again: nothing changes.
    before = tables(url)["predictions"]
    for headers, body in inference(3):
        post(headers, body)
    drain(collector)
    assert tables(url)["predictions"] == before
    assert outcomes(parts.store)["duplicate"] == 2
    source.close()


def test_feedback_comes_as_labels_of_the_rows(open_post: Callable[..., Post], parts: Parts, tmp_path: Path) -> None:
    source = SpoolSource(tmp_path / "inbox", "inbox", parts.store.position, decode=inbox_reader(INTERPRETER))
    post = open_post(LogInbox(spool(tmp_path / "inbox")))
    for kind, body in (("inference.request", event(2).request.body), ("inference.response", b"{}")):
        post(seldon(kind), body)
    assert post(seldon("feedback"), b'{"reward": 0, "truth": {"data": {"ndarray": [0]}}}').status_code == 202
    drain(pairing_collector(parts, source))
    assert outcomes(parts.store, names.LABELS) == {"joined": 1}
    stream = StreamKey("default", "flights", "unknown", "canary")
    assert [sample.label for sample in parts.store.samples(stream, 0, 2e9, 5)] == ["0"]
    source.close()


class Kept:
    """An inbox in memory, for what an answer means."""

    def __init__(self) -> None:
        self.events: list[CloudEvent] = []
        self.writes = 0
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()

    def append(self, events: Sequence[CloudEvent]) -> Mapping[int, str]:
        self.begun.set()
        self.gate.wait(120)
        self.writes += 1
        self.events.extend(events)
        return {}

    def close(self) -> None:
        pass


class Away:
    def append(self, events: Sequence[CloudEvent]) -> Mapping[int, str]:
        raise UnavailableError("kafka", "gone")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("mode", ["binary", "structured", "batch"])
def test_every_mode_of_the_sdk_gives_the_same_event(open_post: Callable[..., Post], mode: str) -> None:
    kept = Kept()
    post = open_post(kept)
    attributes: dict[str, Any] = {name[3:]: value for name, value in kserve("request") if name.startswith("ce-")}
    at = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
    attributes = {**attributes, "time": at, "recordedtime": "2026-11-21T10:00:01Z"}
    sent = SdkEvent(attributes={**attributes, "datacontenttype": "application/json"}, data={"instances": [[1.5, "ü"]]})
    if mode == "binary":
        message = ce_http.to_binary(sent, JSONFormat())
        answer = post(list(message.headers.items()), message.body)
    elif mode == "structured":
        message = ce_http.to_structured(sent, JSONFormat())
        answer = post(list(message.headers.items()), message.body)
    else:
        one = ce_http.to_structured(sent, JSONFormat()).body
        answer = post([("content-type", "application/cloudevents-batch+json")], b"[" + one + b"]")
    assert (answer.status_code, answer.content) == (202, b"")
    found = kept.events[0]
    assert found.content_type == "application/json"
    assert json.loads(found.body) == {"instances": [[1.5, "ü"]]}
    assert {name: found.text(name) for name in attributes if name != "time"} == {
        name: value for name, value in attributes.items() if name != "time"
    }
    half = INTERPRETER.read(found)
    assert isinstance(half, Half)
    assert half.time_ns // 1000 == 1795255200123456  # the SDK keeps microseconds


def test_a_full_inbox_is_answered_503_with_a_time_to_try_again(open_post: Callable[..., Post], tmp_path: Path) -> None:
    source = SpoolSource(tmp_path / "inbox", "inbox", lambda _: None, decode=inbox_reader(INTERPRETER))
    post = open_post(LogInbox(spool(tmp_path / "inbox", max_bytes=6000)))
    answers = [post(kserve("request", ce_id=str(number)), b"x" * 1500) for number in range(6)]
    codes = [answer.status_code for answer in answers]
    assert codes[0] == 202
    assert codes[-1] == 503
    assert codes == sorted(codes)
    assert answers[-1].headers["retry-after"] == "5"
    assert answers[-1].json()["reason"] == "spool_full"
    # Once the reader has passed what was kept, there is room again.
    records = source.poll(100, 0)
    assert len(records) == codes.count(202)
    source.acknowledge(records[-1].partition, records[-1].next_offset)
    again = lambda: post(kserve("request", ce_id="again"), b"x" * 1500).status_code == 202  # noqa: E731
    wait_until(again, 120, "the writer to look at its readers")
    source.close()


def test_an_inbox_that_is_away_is_answered_503(open_post: Callable[..., Post]) -> None:
    post = open_post(Away())
    answer = post(kserve("request"), b"{}")
    assert (answer.status_code, answer.json()["reason"]) == (503, UNAVAILABLE)
    assert post.counted() == {("http", "refused", UNAVAILABLE): 1}


@pytest.mark.parametrize(
    ("headers", "body", "status", "reason", "said"),
    [
        ([], b"{}", 400, "invalid", "ce-id is missing"),
        (kserve("request", ce_time="noon", ce_recordedtime=None), b"{}", 400, "invalid", "ce-time 'noon'"),
        (kserve("request"), b"x" * 5000, 413, "too_large", "more than 4096 bytes"),
    ],
)
def test_what_is_refused_says_why_and_is_counted(
    open_post: Callable[..., Post], headers: Any, body: bytes, status: int, reason: str, said: str
) -> None:
    kept = Kept()
    post = open_post(kept, maximum_bytes=4096)
    answer = post(headers, body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert said in answer.json()["faults"][0]
    assert post.counted() == {("http", "refused", reason): 1}
    assert kept.events == []


def test_only_tokens_for_the_model_may_send_its_events(open_post: Callable[..., Post], tmp_path: Path) -> None:
    mine, other = new_token(), new_token()
    book = AccessBook(
        (
            TokenEntry(Grant("mine", frozenset({EVENTS_WRITE}), ("*/flights",)), digest_of(mine)),
            TokenEntry(Grant("other", frozenset({EVENTS_WRITE}), ("*/delay",)), digest_of(other)),
        )
    )
    post = open_post(LogInbox(spool(tmp_path)), access=Access(lambda: book))
    headers, body = inference(1)[0]
    # A logger can be given an URL only; what stands before its @ is sent like this.
    named = base64.b64encode(f"kserve:{mine}".encode()).decode()
    statuses = [
        post([*headers, *given], body).status_code
        for given in ([], [("authorization", f"Bearer {other}")], [("authorization", f"Basic {named}")])
    ]
    assert statuses == [401, 403, 202]
    assert sum(post.counted().values()) == 1


def test_other_events_of_a_broker_are_acknowledged_and_not_kept(open_post: Callable[..., Post]) -> None:
    kept = Kept()
    post = open_post(kept)
    assert post(seldon("inference.drift"), b"{}").status_code == 202
    assert kept.events == []
    assert post.counted() == {("http", "ignored", ""): 1}


def test_modelmesh_posts_to_its_own_path_and_hears_200(open_post: Callable[..., Post]) -> None:
    kept = Kept()
    post = open_post(kept)
    answer = post([("content-type", "application/json")], MODELMESH_REQUEST, "/consumer/kserve/v2?namespace=shop")
    assert answer.status_code == 200
    assert (kept.events[0].text("namespace"), kept.events[0].text("inferenceservicename")) == ("shop", "flights")
    assert post([], b'{"id": 3}', "/consumer/kserve/v2").status_code == 400
    assert post.counted() == {("modelmesh", "accepted", ""): 1, ("modelmesh", "refused", "invalid"): 1}


def test_modelmesh_names_its_namespace_in_the_path_for_it_takes_a_query_for_a_filter(
    open_post: Callable[..., Post],
) -> None:
    kept = Kept()
    post = open_post(kept)
    assert post([], MODELMESH_REQUEST, "/consumer/kserve/v2/my%20shop").status_code == 200
    assert kept.events[0].text("namespace") == "my shop"


def test_while_one_write_is_under_way_the_next_is_gathered_up_to_a_bound(open_post: Callable[..., Post]) -> None:
    kept = Kept()
    kept.gate.clear()
    post = open_post(kept, waiting_bytes=3000)
    with ThreadPoolExecutor(12) as pool:
        send = lambda number: pool.submit(post, kserve("request", ce_id=str(number)), b"x" * 1000)  # noqa: E731
        sent = [send(0)]
        assert kept.begun.wait(120)
        sent += [send(number) for number in range(1, 12)]
        # The first is being written, three thousand bytes wait, the others hear of no room.
        wait_until(lambda: sum(future.done() for future in sent) == 8, 120, "eight answers")
        kept.gate.set()
        answers = [future.result(120) for future in sent]
    assert sum(answer.status_code == 202 for answer in answers) == 4
    assert {answer.json()["reason"] for answer in answers if answer.status_code == 503} == {BUSY}
    assert (len(kept.events), kept.writes) == (4, 2)


def test_what_is_read_from_the_inbox_is_what_was_put_there(tmp_path: Path) -> None:
    writer = spool(tmp_path)
    sent = CloudEvent(attributes={"id": "1", "type": "io.example.x"}, body=b"\0\xff", received_ns=5)
    LogInbox(writer).append([sent])
    broken = msgspec.msgpack.encode({"attributes": 5})
    writer.write([broken])
    source = SpoolSource(tmp_path, "inbox", lambda _: None, decode=inbox_reader(INTERPRETER))
    first, second = [record.content for record in source.poll(10, 0)]
    assert first == INTERPRETER.read(sent)
    assert getattr(second, "reason", "") == "bad_event"
    source.close()
