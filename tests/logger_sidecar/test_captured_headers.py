"""Headers on events: the same over HTTP/1.1 and over gRPC, whatever they are called and why they are read."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftline.events import InferenceEvent
from tests.logger_sidecar.grpc.servers import INFER, channel, infer_request, served
from tests.logger_sidecar.wire import Running, Upstream, answering, post, read_message, sidecar

Headers = list[tuple[str, str]]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ANSWER = b"HTTP/1.1 200 OK\r\nfirst: 1\r\nContent-Length: 2\r\n\r\n{}"


class Spoken:
    """Clients of one protocol, all on one connection. ``seen``: the names and values that the server got last."""

    def __init__(self, running: Running, ask: Callable[[Headers], None], seen: Callable[[], Headers]) -> None:
        self.running, self.ask, self.seen = running, ask, seen

    def events(self) -> list[InferenceEvent]:
        return self.running.events()


@contextlib.contextmanager
def http1(directory: Path, settings: dict[str, object]) -> Iterator[Spoken]:
    upstream = Upstream(answering(ANSWER))
    with sidecar(upstream.url, directory, **settings) as running, running.connect() as connection:

        def ask(headers: Headers) -> None:
            connection.sendall(post(b"{}", *(f"{name}: {value}" for name, value in headers)))
            assert read_message(connection).startswith(b"HTTP/1.1 200")

        def seen() -> Headers:
            lines = upstream.requests[-1].partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
            return [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]

        yield Spoken(running, ask, seen)
    upstream.close()


@contextlib.contextmanager
def grpc(directory: Path, settings: dict[str, object]) -> Iterator[Spoken]:
    with (
        served() as server,
        sidecar(server.url, directory, **settings) as running,
        channel(running.sidecar.listen_port, ("grpc.primary_user_agent", "robot/1")) as made,
    ):

        def ask(headers: Headers) -> None:
            made.unary_unary(INFER)(infer_request(), timeout=60, metadata=tuple(headers))

        yield Spoken(running, ask, lambda: [(name, str(value)) for name, value in server.seen[-1].items()])


both = pytest.mark.parametrize("protocol", [http1, grpc])


@both
def test_what_a_sampling_rule_names_is_on_the_event_and_keeps_it(protocol: Callable, tmp_path: Path) -> None:
    settings = {"sample_rate": 0.0, "keep_headers": ("X-Tenant=gold", "x-tenant=platinum", "x-debug")}
    with protocol(tmp_path, settings) as spoken:
        for headers in ([("x-tenant", "gold")], [("x-tenant", "tin")], [("x-tenant", "platinum")], [("x-debug", "")]):
            spoken.ask(headers)
        found = [(event.request.headers, event.sample_rate) for event in spoken.events()]
    assert found == [({"x-tenant": "gold"}, 1.0), ({"x-tenant": "platinum"}, 1.0), ({"x-debug": ""}, 1.0)]


@both
def test_a_header_that_is_repeated_has_all_its_values(protocol: Callable, tmp_path: Path) -> None:
    with protocol(tmp_path, {"sample_rate": 0.0, "keep_headers": ("x-tenant=gold",)}) as spoken:
        for values in (("gold", "tin"), ("tin", "gold"), ("tin", "tin"), ("gold",)):
            spoken.ask([("x-tenant", value) for value in values])
        found = [event.request.headers for event in spoken.events()]
    assert found == [{"x-tenant": "gold, tin"}, {"x-tenant": "tin, gold"}, {"x-tenant": "gold"}]


@both
def test_headers_that_mean_something_else_too_are_captured_where_asked(protocol: Callable, tmp_path: Path) -> None:
    names = ("User-Agent", "X-Request-Id", "traceparent", "host", "content-type", "first")
    with protocol(tmp_path, {"capture_headers": names}) as spoken:
        for number in range(3):
            given = [] if protocol is grpc else [("user-agent", "robot/1"), ("content-type", "a/b")]
            spoken.ask([*given, ("x-request-id", f"r-{number}"), ("traceparent", TRACE)])
        events = spoken.events()
    for number, event in enumerate(events):
        assert event.request_id == event.request.headers["x-request-id"] == f"r-{number}"
        assert event.request.headers["user-agent"].startswith("robot/1")
        assert event.request.headers["traceparent"] == event.traceparent == TRACE
        assert event.request.headers["host"]
        assert event.request.headers["content-type"] == event.request.content_type
        assert event.response.headers["first"] == "1"
    assert len(events) == 3


@both
def test_an_id_in_another_header_that_is_captured_is_each_request_s_own(protocol: Callable, tmp_path: Path) -> None:
    with protocol(tmp_path, {"capture_headers": ("ce-id", "x-same")}) as spoken:
        for number in range(3):
            spoken.ask([("ce-id", f"r-{number}")])
        for number in range(3):
            spoken.ask([("x-same", f"r-{number}"), ("x-request-id", f"r-{number}")])
        found = [(event.request_id, list(event.request.headers.values())) for event in spoken.events()]
    assert found == [(f"r-{number}", [f"r-{number}"]) for number in [0, 1, 2] * 2]


@both
@pytest.mark.parametrize(
    "malformed",
    [
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        f"{TRACE}-more",
        "anything",
        f"{TRACE},{TRACE}",
    ],
)
def test_a_malformed_traceparent_reaches_the_server_and_is_no_trace_context(
    protocol: Callable, tmp_path: Path, malformed: str
) -> None:
    with protocol(tmp_path, {}) as spoken:
        spoken.ask([("traceparent", malformed)])
        assert ("traceparent", malformed) in spoken.seen()
        spoken.ask([("traceparent", TRACE)])
        assert ("traceparent", TRACE) in spoken.seen()
        assert [event.traceparent for event in spoken.events()] == [None, TRACE]


def test_of_two_trace_contexts_neither_counts(tmp_path: Path) -> None:
    with http1(tmp_path, {}) as spoken:
        spoken.ask([("traceparent", TRACE), ("traceparent", TRACE.replace("4b", "5b"))])
        assert [event.traceparent for event in spoken.events()] == [None]
