"""The fast lane against the way without it, and both against no sidecar at all: any talk on any connections.

Where there is no lane, in the build in Python, it is the fast path against the model server.
"""

import itertools
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftline.events import InferenceEvent
from tests.logger_sidecar.wire import Running, Upstream, sidecar
from tests.parts.processes import wait_until

_CONNECTIONS = 3
_ID_LINE = re.compile(rb"x-request-id: [^\r]*\r\n")
_JSON = "Content-Type: application/json"
_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
#: What the model server does, told in the request's body; of the ends a direct client would see more.
_DEEDS = ("same", "same", "same", "other", "split", "chunked", "interim", "empty", "large")
_ENDS = ("close", "gone", "broken")


class Step(NamedTuple):
    """One request. ``read``: whether the client reads all its answers before anybody says more."""

    connection: int
    head: int
    request_id: str
    deed: str
    padding: int
    cuts: Sequence[int]
    read: bool


def request(step: Step, number: int) -> bytes:
    """The same head for all usual steps, but for lengths and ids; the number is as long for each."""
    where = f'"id": "b{number:07d}", ' if step.request_id == "body" else ""
    body = f'{{{where}"n": "{number:07d}", "do": "{step.deed}"}}'.encode() + b" " * step.padding
    path = "/x" if step.head == 2 else "/v2/models/iris/infer" if step.head == 1 else "/v1/models/m:predict"
    lines = [f"POST {path} HTTP/1.1", "Host: test", _JSON, f"Content-Length: {len(body)}"]
    if step.request_id == "header":
        lines.insert(2, f"x-request-id: h-{number}")
    if step.head == 1:  # every sixteenth is malformed
        lines.insert(3, f"traceparent: 00-{number % 16:032x}-{number + 1:016x}-01")
        lines.insert(4, f"tracestate: {' ' if number % 16 == 5 else ''}congo={number}{' ' if number % 16 == 6 else ''}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(deed: str, number: bytes) -> bytes:
    """What the server says, whatever is asked, where it says anything."""
    kind = "text/plain" if deed == "other" else "application/json"
    body = b'{"of": "%s"}' % number + b"." * (int(number) % 4 * 4)
    if deed == "empty":
        body = b""
    elif deed == "large":
        body += b"." * 100_000
    second = int(number) // 2 % 60
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nDate: Sun, 06 Nov 1994 08:49:{second:02d} GMT\r\n"
    if deed == "close":
        head += "Connection: close\r\n"
    if deed == "chunked":
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    return _INTERIM + whole if deed == "interim" else whole


def requests(connection: socket.socket) -> Iterator[tuple[str, bytes]]:
    """What is asked, and in which request, however the bytes come."""
    data = b""
    while True:
        end = data.find(b"\r\n\r\n") + 4
        size = end + int(data[:end].split(b"Content-Length: ")[1].split(b"\r\n")[0]) if end >= 4 else 0
        if size and len(data) >= size:
            body, data = data[end:size], data[size:]
            yield body.split(b'"do": "')[1].split(b'"')[0].decode(), body.split(b'"n": "')[1][:7]
            continue
        piece = connection.recv(65536)
        if not piece:
            return
        data += piece


def serve(upstream: Upstream, connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for deed, number in requests(connection):
        said = answer(deed, number)
        if deed == "gone":
            return
        if deed == "broken":
            connection.sendall(said[:-3])
            return
        if deed == "split":
            connection.sendall(said[:40])
            connection.sendall(said[40:-1])
            said = said[-1:]
        connection.sendall(said)
        if deed == "close":
            return


def read_answer(connection: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    """One answer with all interim ones before it, or what came before the end; and what is behind it."""
    start = 0
    while True:
        end = data.find(b"\r\n\r\n", start) + 4
        if end >= 4 and data.startswith(b"HTTP/1.1 1", start):
            start = end
            continue
        size = _size(data, start, end) if end >= 4 else 0
        if size and len(data) >= size:
            return data[:size], data[size:]
        piece = b""
        with suppress(ConnectionError):
            piece = connection.recv(65536)
        if not piece:
            return data, b""
        data += piece


def _size(data: bytes, start: int, end: int) -> int:
    head = data[start:end].lower()
    if b"chunked" in head:
        found = data.find(b"0\r\n\r\n", end)
        return found + 5 if found >= 0 else 0
    return end + int(head.split(b"content-length: ")[1].split(b"\r\n")[0])


def talk(port: int, steps: Sequence[Step], first: int) -> list[list[bytes]]:
    """The answers on each connection, the ids of inferences left out; a connection that ended is made anew."""
    answers: list[list[bytes]] = [[] for _ in range(_CONNECTIONS)]
    with ExitStack() as stack:
        made: dict[int, socket.socket] = {}
        unread = dict.fromkeys(range(_CONNECTIONS), 0)
        left = dict.fromkeys(range(_CONNECTIONS), b"")

        def read(index: int) -> None:
            for _ in range(unread[index]):
                found, left[index] = read_answer(made[index], left[index])
                answers[index].append(_ID_LINE.sub(b"", found))
            unread[index] = 0

        for number, step in enumerate(steps, first):
            index = step.connection
            if index not in made:
                made[index] = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
                made[index].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            whole = request(step, number)
            places = sorted({min(cut, len(whole)) for cut in step.cuts} | {0, len(whole)})
            for begin, end in itertools.pairwise(places):
                made[index].sendall(whole[begin:end])
            unread[index] += 1
            if step.read or step.deed in _ENDS:
                read(index)
            if step.deed in _ENDS:
                made.pop(index).close()
                left[index] = b""
        for index in made:
            read(index)
    return answers


connections = st.integers(0, _CONNECTIONS - 1)
paddings = st.sampled_from([0, 0, 1, 70, 5_000])
usual = st.builds(
    lambda index, padding, read: Step(index, 1, "", "same", padding, (), read), connections, paddings, st.booleans()
)
named = st.builds(
    lambda index, padding, read: Step(index, 1, "header", "same", padding, (), read),
    connections,
    paddings,
    st.booleans(),
)
#: In pieces, wherever they are cut; together longer than what is received at once.
long = st.builds(
    lambda index, padding, cuts, read: Step(index, 1, "header", "same", padding, cuts, read),
    connections,
    st.sampled_from([70_000, 270_000, 600_000]),
    st.lists(st.integers(1, 600_000), max_size=4),
    st.booleans(),
)
last = st.builds(lambda index, end: Step(index, 1, "", end, 0, (), read=True), connections, st.sampled_from(_ENDS))
unusual = st.builds(
    Step,
    connections,
    st.integers(0, 2),
    st.sampled_from(["", "header", "body"]),
    st.sampled_from(_DEEDS),
    st.sampled_from([0, 0, 0, 1, 70_000]),
    st.lists(st.integers(1, 200), max_size=2),
    st.booleans(),
).map(
    # An id in the body is found in the first piece of it, or not at all.
    lambda step: step._replace(cuts=()) if step.request_id == "body" else step
)
#: Three of the same, but for their length, bring a connection into the lane, where all that is unusual must find it.
run = st.builds(
    lambda step, more: [step._replace(padding=step.padding + each, read=True) for each in more],
    st.one_of(usual, named, long),
    st.lists(st.sampled_from([0, 0, 1, 900]), min_size=3, max_size=5),
)
single = st.one_of(usual, usual, named, long, unusual, last).map(lambda step: [step])
talks = st.lists(st.one_of(run, single, single), min_size=3, max_size=12).map(lambda parts: [*itertools.chain(*parts)])


def described(events: Sequence[InferenceEvent]) -> Mapping[bytes, tuple[object, ...]]:
    """By number in the body: all that two sidecars must say alike."""
    found = {
        event.request.body.split(b'"n": "')[1][:7]: (
            event.model,
            event.protocol,
            event.status_code,
            event.truncated,
            event.sample_rate,
            event.request,
            event.response,
            event.request_id if event.request_id[:1] in "hb" and "-" not in event.request_id[2:] else "made",
        )
        for event in events
    }
    assert len(found) == len(events)
    assert len({event.id for event in events}) == len(events)
    return found


def without_lane(running: Running) -> Running:
    """The same sidecar where the build has no lane."""
    running.sidecar._parts.lane = running.sidecar.pool.lane = None
    return running


def test_any_talk_is_passed_and_recorded_as_without_the_lane(tmp_path: Path) -> None:
    upstream = Upstream(serve)
    numbers = itertools.count(1, 100)
    in_lane = 0
    with sidecar(upstream.url, tmp_path / "a") as ours, sidecar(upstream.url, tmp_path / "b") as other:
        plain = without_lane(other)

        @settings(deadline=None, suppress_health_check=list(HealthCheck))
        @given(talks)
        def any_talk(steps: Sequence[Step]) -> None:
            nonlocal in_lane
            first = next(numbers)
            given_here = talk(ours.sidecar.listen_port, steps, first)
            assert given_here == talk(plain.sidecar.listen_port, steps, first)
            if all(step.deed not in _ENDS for step in steps):
                assert given_here == talk(upstream.port, steps, first)
            in_lane += sum(each.lane_fd >= 0 for each in ours.sidecar.pool.connections)

        any_talk()
        for running in (ours, plain):
            wait_until(lambda running=running: not running.sidecar._parts.connections)  # type: ignore[misc]
        assert figures(ours) == figures(plain)
        assert described(ours.events()) == described(plain.events())
    upstream.close()
    assert (in_lane > 0) is (ours.sidecar._lane is not None)


def figures(running: Running) -> list[object]:
    """What was counted, but for times."""
    meters = running.sidecar.meters
    meters.before_collect()
    streams = sorted(meters._streams.items())
    counted = [(name, stream.requests, sum(stream.buckets), stream.dropped) for name, stream in streams]
    return [*counted, meters.bytes_in, meters.bytes_out, meters._upstream_errors]
