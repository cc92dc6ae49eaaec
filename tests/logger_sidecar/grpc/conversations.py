"""Conversations over HTTP/2 without sockets: made with python-hyper's h2, and read with hyperframe and hpack."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.settings
import hpack
import hyperframe.frame as frames
import msgspec

from driftline.testing import ManualClock
from logger_sidecar.http1.routes import Route, RouteTable
from logger_sidecar.http2.capture_room import CaptureRoom
from logger_sidecar.http2.followed_call import CallParts
from logger_sidecar.http2.frames import PREFACE
from logger_sidecar.http2.stream_heads import HeadMeaning, Methods
from logger_sidecar.http2.tap import Tap
from logger_sidecar.recording.calls import Call, EndedCall
from logger_sidecar.recording.event_ids import EventIds
from logger_sidecar.recording.meters import Meters

Headers = list[tuple[bytes, bytes]]
#: Who said it, and the bytes.
Said = tuple[str, bytes]


class Recorded:
    """Keeps the calls that a real Capture would make events of, and counts those that it would drop."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.lost: Counter[str] = Counter()

    def record_call(self, call: Call, now_s: float) -> None:
        self.calls.append(call)

    def note_call(self, ended: EndedCall, size_bytes: int, now_s: float) -> None:
        call = ended.described()
        if call is not None:
            self.calls.append(call)

    def lose_call(self, route: Route, duration_s: float, reason: str) -> None:
        self.lost[reason] += 1

    def described(self) -> list[dict[str, Any]]:
        """The calls in plain words: heads as what events say of them."""
        described = [msgspec.structs.asdict(call) for call in self.calls]
        for call in described:
            for half in ("request_head", "response_head"):
                head = call[half]
                call[half] = head and (head.content_type, head.content_encoding, head.headers, head.traceparent)
        return described


@dataclass
class Observed:
    """A tap and what it saw."""

    now: list[float] = field(default_factory=lambda: [100.0])
    recorded: Recorded = field(default_factory=Recorded)
    meters: Meters = field(default_factory=lambda: Meters("default", 10, lambda: 0, lambda: 0, list))
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given: dict[str, Any] = {
            "capture": self.recorded,
            "meters": self.meters,
            "clock": ManualClock(1_700_000_000.0),
            "event_ids": EventIds(lambda bits: 0),
            "meaning": HeadMeaning(Methods(["test.Any/Call"]), ["tenant"], RouteTable("server", "")),
            "room": CaptureRoom(1 << 20),
            "default_model": "server",
            "default_version": "",
            "max_body_bytes": 1 << 20,
            "max_head_bytes": 65536,
            "max_calls": 1000,
            "now_s": lambda: self.now[0],
        }
        self.parts = CallParts(**{**given, **self.changes})
        self.tap = Tap(self.parts)
        self.to_server = b""
        self.to_client = b""

    def client(self, data: bytes) -> bytes:
        out = self.tap.from_client(data)
        self.to_server += out
        return out

    def server(self, data: bytes) -> bytes:
        self.to_server += self.tap.let_go()  # a server that speaks has had the time
        out = self.tap.from_server(data)
        self.tap.settle()
        self.to_client += out
        return out

    def hear(self, said: list[Said]) -> None:
        for who, data in said:
            (self.client if who == "client" else self.server)(data)
        self.to_server += self.tap.let_go()

    def dropped(self) -> dict[str, int]:
        return dict(self.recorded.lost)


class Talk:
    """Two peers of h2 that talk to each other; ``said`` keeps the bytes in their order."""

    def __init__(self) -> None:
        self.peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.host = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, validate_outbound_headers=False)
        )
        self.said: list[Said] = []
        self.peer.initiate_connection()
        self.host.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Carry what each has to say to the other, until neither has."""
        while True:
            asked, answered = self.peer.data_to_send(), self.host.data_to_send()
            if asked:
                self.said.append(("client", asked))
                self.host.receive_data(asked)
            if answered:
                self.said.append(("server", answered))
                self.peer.receive_data(answered)
            if not asked and not answered:
                return


def read_frames(data: bytes) -> list[tuple]:
    """Frames in plain words: header blocks decoded and put together, everything else as it is."""
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = 65536
    decoder.max_header_list_size = 1 << 20
    data = data.removeprefix(PREFACE)
    read: list[tuple] = []
    block, begun = b"", None
    while data:
        frame, length = frames.Frame.parse_frame_header(memoryview(data[:9]))
        payload, data = data[9 : 9 + length], data[9 + length :]
        frame.parse_body(memoryview(payload))
        if isinstance(frame, frames.HeadersFrame | frames.ContinuationFrame | frames.PushPromiseFrame):
            assert length <= 16384
            block += frame.data
            begun = begun or frame
            if "END_HEADERS" in frame.flags:
                flags = sorted(flag for flag in begun.flags if flag != "END_HEADERS")
                read.append((type(begun).__name__, begun.stream_id, flags, decoder.decode(block, raw=True)))
                block, begun = b"", None
        else:
            read.append((type(frame).__name__, frame.stream_id, sorted(frame.flags), payload))
    assert begun is None
    return read


def request_headers(path: bytes = b"/inference.GRPCInferenceService/ModelInfer", *more: tuple[bytes, bytes]) -> Headers:
    start = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"test:80")]
    return [*start, (b"te", b"trailers"), (b"content-type", b"application/grpc"), *more]


def answer_headers(*more: tuple[bytes, bytes]) -> Headers:
    return [(b":status", b"200"), (b"content-type", b"application/grpc"), *more]


def trailers(status: int = 0) -> Headers:
    return [(b"grpc-status", str(status).encode()), (b"grpc-message", b"")]
