"""Real gRPC clients and servers with the sidecar between them: every kind of call, as if it were not there."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError

import grpc
import pytest

from tests.logger_sidecar.grpc.servers import (
    INFER,
    READY,
    STREAM_INFER,
    Served,
    call,
    channel,
    failing,
    framed,
    infer_request,
    served,
    slow,
)
from tests.logger_sidecar.wire import Running, sidecar
from tests.parts.processes import wait_until
from tests.parts.protobuf import field


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as made:
        yield made


@pytest.fixture
def running(server: Served, tmp_path: Path) -> Iterator[Running]:
    with sidecar(server.url, tmp_path, grpc_capture_methods=("test.Any/Answers",)) as made:
        yield made


def outcome(port: int, method: str, request: object, **more: object) -> tuple:
    """All that a caller sees of one call, but for the request id."""
    with channel(port) as made:
        found = call(made, method, request, **more)
        if not isinstance(found, bytes):
            found = list(found)
    return (found,)


def details(port: int, method: str, request: bytes, **more: object) -> tuple:
    """Status, message and metadata of a unary call."""
    with channel(port) as made:
        future = made.unary_unary(method).future(request, timeout=60, **more)
        answer = None if future.exception() else future.result()
        initial = [tuple(item) for item in future.initial_metadata() if item.key != "x-request-id"]
        trailing = [tuple(item) for item in future.trailing_metadata() if item.key != "x-request-id"]
        return answer, future.code(), future.details(), initial, trailing


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("/test.Any/Unary", b"one"),
        ("/test.Any/Unary", b""),
        ("/test.Any/Answers", b"one"),
        ("/test.Any/Questions", [b"1", b"", b"3"]),
        ("/test.Any/Both", [b"1", b"2", b"x" * 100_000]),
        (READY, b""),
        (INFER, infer_request()),
        (STREAM_INFER, [infer_request(), infer_request()]),
    ],
)
def test_every_kind_of_call_is_answered_as_directly(
    server: Served, running: Running, method: str, request_: object
) -> None:
    def fresh() -> object:
        return iter(request_) if isinstance(request_, list) else request_

    assert outcome(running.sidecar.listen_port, method, fresh()) == outcome(server.port, method, fresh())


def test_metadata_passes_both_ways(server: Served, running: Running) -> None:
    given = (("plain", "a b"), ("raw-bin", b"\x00\x01\xff"), ("twice", "1"), ("twice", "2"))
    direct = details(server.port, INFER, infer_request(), metadata=given)
    sent = server.seen[-1]
    assert details(running.sidecar.listen_port, INFER, infer_request(), metadata=given) == direct
    got = dict(server.seen[-1])
    assert got.pop("x-request-id")
    assert got == sent
    assert sent["raw-bin"] == b"\x00\x01\xff"


def test_a_call_becomes_one_event(running: Running) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with channel(running.sidecar.listen_port) as made:
        _, seen = made.unary_unary(INFER).with_call(infer_request(), metadata=(("traceparent", trace),))
    [event] = running.events()
    assert (event.protocol, event.model, event.model_version) == ("v2-grpc", "iris", "3")
    assert (event.status_code, event.grpc_status, event.truncated, event.chunk_count) == (200, 0, False, 0)
    assert event.request.body == event.response.body == framed(infer_request())
    assert event.request.content_type == event.response.content_type == "application/grpc"
    assert event.traceparent == trace
    assert dict(seen.initial_metadata())["x-request-id"] == event.request_id == event.id
    assert 0 < event.ttfb_ms <= event.duration_ms
    assert running.outcomes() == {"logged": 1, "sampled_out": 0, "requests": 1}


def test_health_and_other_services_are_passed_unseen(server: Served, running: Running) -> None:
    with channel(running.sidecar.listen_port) as made:
        for method in (READY, "/test.Any/Unary"):
            call(made, method, b"x")
            assert "x-request-id" not in server.seen[-1]
    assert running.events() == []
    assert running.outcomes()["requests"] == 0


def test_a_method_that_is_named_is_captured_under_the_default_model(running: Running) -> None:
    with channel(running.sidecar.listen_port) as made:
        list(call(made, "/test.Any/Answers", b"ask"))
    [event] = running.events()
    assert (event.protocol, event.model, event.chunk_count) == ("grpc", "model-server", 5)
    assert event.request.body == framed(b"ask")
    assert event.response.body == framed(*[b"ask" + bytes([number]) for number in range(5)])


def test_a_stream_is_one_event_with_all_messages(running: Running) -> None:
    asked = [infer_request(request_id=str(number)) for number in range(20)]
    with channel(running.sidecar.listen_port) as made:
        assert list(call(made, STREAM_INFER, iter(asked))) == asked
    [event] = running.events()
    assert event.request.body == event.response.body == framed(*asked)
    assert (event.chunk_count, event.stream_error, event.grpc_status) == (20, "", 0)


def test_an_answer_is_there_before_the_next_question_is_asked(running: Running) -> None:
    answered = threading.Event()

    def ask() -> Iterator[bytes]:
        for _ in range(3):
            yield infer_request()
            assert answered.wait(60)
            answered.clear()

    with channel(running.sidecar.listen_port) as made:
        for _ in call(made, STREAM_INFER, ask()):
            answered.set()
    [event] = running.events()
    assert event.chunk_count == 3


def test_an_error_in_a_stream_that_ends_well_is_told(tmp_path: Path) -> None:
    def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for number, _ in enumerate(requests):
            yield field(1, "no such\nmodel") if number else field(2, field(1, "iris"))

    with served(stream_infer=answer) as server, sidecar(server.url, tmp_path) as running:
        with channel(running.sidecar.listen_port) as made:
            assert len(list(call(made, STREAM_INFER, iter([infer_request()] * 2)))) == 2
        [event] = running.events()
    assert (event.stream_error, event.grpc_status, event.chunk_count) == ("no such", 0, 2)


def test_an_error_is_passed_and_its_status_is_in_the_event(tmp_path: Path) -> None:
    with served(infer=failing) as server, sidecar(server.url, tmp_path) as running:
        direct = details(server.port, INFER, infer_request())
        assert details(running.sidecar.listen_port, INFER, infer_request()) == direct
        assert direct[1:3] == (grpc.StatusCode.INVALID_ARGUMENT, "no such tensor: é")
        [event] = running.events()
        [codes] = [stream.requests for stream in running.sidecar.meters._streams.values()]
    assert (event.status_code, event.grpc_status, event.response.body) == (200, 3, b"")
    assert event.response.headers == {"grpc-message": "no such tensor: %C3%A9"}
    assert codes == {("v2-grpc", 400): 1}


def test_an_unknown_method_is_answered_by_the_server(tmp_path: Path) -> None:
    with served() as server, sidecar(server.url, tmp_path) as running:
        found = details(running.sidecar.listen_port, "/nobody.Knows/This", b"")
        assert found == details(server.port, "/nobody.Knows/This", b"")
        assert found[1] == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("way", ["deadline", "cancelled"])
def test_a_call_that_is_given_up_ends_at_the_server_and_is_told_apart(tmp_path: Path, way: str) -> None:
    with served(infer=slow) as server, sidecar(server.url, tmp_path) as running:
        with channel(running.sidecar.listen_port) as made:
            grpc.channel_ready_future(made).result(60)  # the deadline is for the call alone
            future = made.unary_unary(INFER).future(infer_request(), timeout=2 if way == "deadline" else 60)
            if way == "cancelled":
                wait_until(lambda: bool(server.seen))
                future.cancel()
                wait_until(lambda: running.sidecar.meters._streams != {})
            else:
                assert future.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED
            wait_until(lambda: running.outcomes().get("requests") == 1)
        [event] = running.events()
        [codes] = [stream.requests for stream in running.sidecar.meters._streams.values()]
    status, code = (4, 504) if way == "deadline" else (1, 499)
    assert event.grpc_status == status
    assert event.status_code in {code, 200}  # 200 where the server, who keeps to deadlines, too, was the first
    assert codes == {("v2-grpc", code): 1}
    assert event.request.body == framed(infer_request())


def test_compressed_messages_pass_and_name_their_encoding_and_model(server: Served, running: Running) -> None:
    asked = infer_request("wine", "7", rest=field(7, b"a" * 5000))
    with channel(running.sidecar.listen_port) as made:
        assert call(made, INFER, asked, compression=grpc.Compression.Gzip) == asked
    [event] = running.events()
    assert (event.model, event.model_version) == ("wine", "7")
    assert event.request.headers["grpc-encoding"] == "gzip"
    assert event.request.body[0] == 1
    assert len(event.request.body) < 1000


def test_messages_of_20_mb_pass_and_are_cut_in_the_event(tmp_path: Path) -> None:
    asked = infer_request(rest=field(7, bytes(range(256)) * 80_000))
    with served() as server, sidecar(server.url, tmp_path, max_body_bytes=100_000) as running:
        with channel(running.sidecar.listen_port) as made:
            assert call(made, INFER, asked) == asked
        [event] = running.events()
    assert event.truncated
    assert event.request.body == event.response.body == framed(asked)[:100_000]


def test_a_hundred_calls_at_once_on_one_connection_are_told_apart(running: Running) -> None:
    asked = [
        infer_request(request_id=f"r{number}", rest=field(7, bytes([number]) * 1000 * number)) for number in range(100)
    ]
    with channel(running.sidecar.listen_port) as made, ThreadPoolExecutor(100) as pool:
        ask = made.unary_unary(INFER)
        assert list(pool.map(lambda request: ask(request, timeout=60), asked)) == asked
    events = {event.request_id: event for event in running.events()}
    assert sorted(events) == sorted(f"r{number}" for number in range(100))
    for number, request in enumerate(asked):
        assert events[f"r{number}"].request.body == events[f"r{number}"].response.body == framed(request)


def test_shared_memory_is_recorded_as_not_observable(running: Running) -> None:
    entry = field(1, "shared_memory_region") + field(2, field(3, "region0"))
    inputs = field(1, "x") + field(2, "FP32") + field(4, entry)
    innocent = infer_request(rest=field(7, "shared_memory_region"))
    with channel(running.sidecar.listen_port) as made:
        call(made, INFER, field(1, "iris") + field(5, inputs))
        call(made, INFER, innocent)
    assert [event.not_observable for event in running.events()] == ["shared_memory", ""]


def test_allowed_metadata_is_captured_on_both_halves(tmp_path: Path) -> None:
    with served() as server, sidecar(server.url, tmp_path, capture_headers=("Tenant", "first", "last")) as running:
        with channel(running.sidecar.listen_port) as made:
            call(made, INFER, infer_request(), metadata=(("tenant", "t1"), ("secret", "s")))
        [event] = running.events()
    assert event.request.headers == {"tenant": "t1"}
    assert event.response.headers == {"first": "1", "last": "2"}


def test_nothing_of_a_sampled_out_call_is_written(tmp_path: Path) -> None:
    with served() as server, sidecar(server.url, tmp_path, sample_rate=0.0) as running:
        with channel(running.sidecar.listen_port) as made:
            call(made, INFER, infer_request())
        assert running.events() == []
        assert running.outcomes() == {"logged": 0, "sampled_out": 1, "requests": 1}


def test_grpc_has_a_port_of_its_own_where_it_shall(tmp_path: Path) -> None:
    with served() as server:
        settings = {"grpc_upstream": server.url, "grpc_listen_port": 0}
        with sidecar("http://127.0.0.1:9", tmp_path, **settings) as running:
            with pytest.raises(HTTPError) as unready:
                running.admin("/readyz")
            # Of the two addresses the one without a server, and not the real server of gRPC.
            assert re.fullmatch(rb"the model server at 127.0.0.1:9 does not accept [^;]*\n", unready.value.read())
            with channel(running.sidecar.grpc_port) as made:
                assert call(made, INFER, infer_request()) == infer_request()
            with channel(running.sidecar.listen_port) as made:
                assert call(made, INFER, infer_request()) == infer_request()
            assert len(running.events()) == 2
