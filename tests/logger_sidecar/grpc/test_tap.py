"""Both directions of a connection beside the path: whatever is said, and however it is cut, nothing else changes."""

import random
from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logger_sidecar.http2.capture_room import CaptureRoom
from logger_sidecar.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PREFACE,
    PUSH_PROMISE,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
    goaway,
    reset,
)
from tests.logger_sidecar.grpc.conversations import (
    Observed,
    Said,
    Talk,
    answer_headers,
    read_frames,
    request_headers,
    trailers,
)
from tests.logger_sidecar.grpc.servers import INFER, STREAM_INFER, framed, infer_request

PLAIN = b"/v2/models/iris/infer"
PATHS = [INFER.encode(), STREAM_INFER.encode(), b"/test.Any/Call", b"/other.Service/Method", PLAIN]
VALUES = st.text("abcXYZ09 -", min_size=1, max_size=40).map(lambda text: text.strip().encode() or b"x")
FIELDS = st.lists(
    st.tuples(st.sampled_from([b"tenant", b"other", b"traceparent", b"x-request-id"]), VALUES), max_size=3
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of a request over gRPC, or of one over plain HTTP."""
    huge = (b"huge", b"v" * 20_000) if draw(st.booleans()) and draw(st.booleans()) else (b"small", b"v")
    path = draw(st.sampled_from(PATHS))
    headers = request_headers(path, *draw(FIELDS), huge)
    if path != PLAIN:
        message = infer_request(request_id=draw(st.sampled_from(["", "r7"])))
        return headers, framed(*[message] * draw(st.integers(0, 3)))
    headers[headers.index((b"content-type", b"application/grpc"))] = (b"content-type", b"application/json")
    return headers, draw(st.sampled_from([b"", b'{"id": "r8"}', b"{}", b"x" * 2000]))


@st.composite
def talks(draw: st.DrawFn) -> list[Said]:
    """What two peers say to each other over a few calls at once."""
    talk = Talk()
    streams: list[int] = []
    for _ in range(draw(st.integers(1, 4))):
        stream = talk.peer.get_next_available_stream_id()
        streams.append(stream)
        headers, body = draw(requests())
        talk.peer.send_headers(stream, headers)
        if draw(st.booleans()):
            talk.flush()
        talk.peer.send_data(
            stream, body, end_stream=draw(st.booleans()), pad_length=draw(st.sampled_from([None, 0, 9]))
        )
        if draw(st.booleans()):
            talk.flush()
    talk.flush()
    for stream in draw(st.permutations(streams)):
        end = draw(st.sampled_from(["answered", "trailers", "reset", "cancelled", "open"]))
        if end == "answered":
            talk.host.send_headers(stream, answer_headers(*draw(FIELDS)))
            talk.host.send_data(stream, framed(b"answer", b""), pad_length=draw(st.sampled_from([None, 3])))
            talk.host.send_headers(stream, trailers(draw(st.sampled_from([0, 5]))), end_stream=True)
        elif end == "trailers":
            talk.host.send_headers(stream, [*answer_headers(), *trailers(13)], end_stream=True)
        elif end == "reset":
            talk.host.reset_stream(stream, draw(st.sampled_from([0, 2, 7, 8])))
        elif end == "cancelled":
            talk.peer.reset_stream(stream, 8)
        talk.flush()
    return talk.said


def pieces(said: list[Said], random_: random.Random) -> list[Said]:
    """The same, cut anywhere."""
    cut: list[Said] = []
    for who, data in said:
        position = 0
        while position < len(data):
            step = random_.choice([1, 2, 5, 9, 10, 30, 1000, 100_000])
            cut.append((who, data[position : position + step]))
            position += step
    return cut


def joined(said: list[Said], speaker: str) -> bytes:
    return b"".join(data for who, data in said if who == speaker)


def without_added(read: list[tuple], original: list[tuple]) -> list[tuple]:
    """The frames without the request ids that the sidecar added, each of which must stand at the end of its block."""
    return [
        (*got[:3], got[3][:-1])
        if got != meant and got[0] == "HeadersFrame" and got[3][-1][0] == b"x-request-id"
        else got
        for got, meant in zip(read, original, strict=True)
    ]


@given(talks(), st.randoms(use_true_random=False))
def test_what_is_said_arrives_with_nothing_but_ids_added_however_it_is_cut(
    said: list[Said], random_: random.Random
) -> None:
    whole, cut = Observed(), Observed()
    whole.hear(said)
    cut.hear(pieces(said, random_))
    for observed in (whole, cut):
        for speaker, arrived in (("client", observed.to_server), ("server", observed.to_client)):
            original = read_frames(joined(said, speaker))
            assert without_added(read_frames(arrived), original) == original
    assert whole.tap.is_observed
    assert cut.recorded.described() == whole.recorded.described()
    assert cut.to_client == whole.to_client
    assert cut.parts.room.held_bytes == whole.parts.room.held_bytes


@given(talks(), st.randoms(use_true_random=False))
def test_every_inference_that_ends_is_recorded_once(said: list[Said], random_: random.Random) -> None:
    observed = Observed()
    observed.hear(pieces(said, random_))
    asked = [
        frame_[1]
        for frame_ in read_frames(joined(said, "client"))
        if frame_[0] == "HeadersFrame" and dict(frame_[3])[b":path"] != PATHS[3]
    ]
    observed.tap.client_gone()
    assert len(observed.recorded.calls) == len(asked)
    assert len({call.event_id for call in observed.recorded.calls}) == len(asked)
    assert observed.parts.room.held_bytes == 0


@given(st.binary(max_size=3000), st.randoms(use_true_random=False), st.booleans())
def test_noise_passes_as_it_came_and_is_held_by_nobody(noise: bytes, random_: random.Random, after: bool) -> None:
    observed = Observed()
    start = PREFACE + frame(SETTINGS, 0, 0) if after else b""
    for who, data in pieces([("client", start + noise), ("server", noise)], random_):
        observed.hear([(who, data)])
    observed.tap.client_gone()
    assert (start + noise).startswith(observed.to_server)
    assert noise.startswith(observed.to_client)
    if not observed.tap.is_observed:
        for speaker, arrived in (("client", observed.client(b"!")), ("server", observed.server(b"!"))):
            assert arrived.endswith(b"!"), speaker
        assert observed.to_server == start + noise + b"!"
        assert observed.to_client == noise + b"!"


@given(talks(), st.integers(0, 10_000), st.binary(min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_damage_anywhere_in_a_conversation_never_raises_nor_loses_a_byte(
    said: list[Said], place: int, damage: bytes, random_: random.Random
) -> None:
    asked = bytearray(joined(said, "client"))
    asked[place % len(asked) : place % len(asked) + len(damage)] = damage
    observed = Observed()
    observed.hear(pieces([("client", bytes(asked)), ("server", joined(said, "server"))], random_))
    observed.tap.client_gone()
    counted = sum(observed.dropped().values()) + len(observed.recorded.calls)
    assert counted <= len(said)
    assert observed.parts.room.held_bytes == 0
    if not observed.tap.is_observed:
        observed.hear([("client", b""), ("server", b"")])


# --- hand-made frames ---------------------------------------------------------------------------------------------
def block(headers: list[tuple[bytes, bytes]], encoder: hpack.Encoder | None = None) -> bytes:
    return (encoder or hpack.Encoder()).encode(headers)


def one_request(observed: Observed, head: bytes, body: bytes = framed(infer_request())) -> list[tuple]:
    observed.client(PREFACE + frame(SETTINGS, 0, 0))
    observed.server(frame(SETTINGS, 0, 0))
    observed.client(head + frame(DATA, END_STREAM, 1, body))
    return read_frames(observed.to_server)


def answered(observed: Observed, *more: tuple[bytes, bytes], status: int = 0) -> list[tuple]:
    encoder = hpack.Encoder()
    observed.server(
        frame(HEADERS, END_HEADERS, 1, block(answer_headers(*more), encoder))
        + frame(DATA, 0, 1, framed(b"out"))
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, block(trailers(status), encoder))
    )
    return read_frames(observed.to_client)


@pytest.mark.parametrize(
    ("flags", "before", "behind"),
    [
        (0, b"", b""),
        (PADDED, b"\x07", b"\0" * 7),
        (PADDED, b"\0", b""),
        (WITH_PRIORITY, b"\0\0\0\0\x10", b""),
        (PADDED | WITH_PRIORITY, b"\x03\x80\0\0\0\xff", b"\0" * 3),
    ],
)
def test_an_id_is_added_in_front_of_padding_and_behind_priority(flags: int, before: bytes, behind: bytes) -> None:
    observed = Observed()
    head = frame(HEADERS, END_HEADERS | flags, 1, before + block(request_headers()) + behind)
    read = one_request(observed, head)
    call = read[1]
    assert call[3][:-1] == request_headers()
    assert call[3][-1][0] == b"x-request-id"
    answered(observed)
    assert [found.event_id.encode() for found in observed.recorded.calls] == [call[3][-1][1]]


def test_a_block_in_three_frames_gets_its_id_in_the_last_of_them() -> None:
    observed = Observed()
    whole = block(request_headers())
    head = (
        frame(HEADERS, 0, 1, whole[:5])
        + frame(CONTINUATION, 0, 1, b"")
        + frame(CONTINUATION, END_HEADERS, 1, whole[5:])
    )
    assert [name for name, _ in one_request(observed, head)[1][3]][-1] == b"x-request-id"


@pytest.mark.parametrize("room", [0, 30, 200])
def test_an_id_that_does_not_fit_into_the_last_frame_gets_one_of_its_own(room: int) -> None:
    observed = Observed()
    filler = b"f" * (16384 - room - len(block(request_headers())) - 20)
    whole = block(request_headers())
    whole += b"\0\x01f\x7f" + varint7(len(filler)) + filler
    head = frame(HEADERS, END_HEADERS, 1, whole)
    read = one_request(observed, head)  # reads no frame that is longer than every peer takes
    assert dict(read[1][3])[b"f"] == filler
    assert read[1][3][-1][0] == b"x-request-id"
    assert (
        observed.to_server.count(observed.recorded.calls[0].event_id.encode()) if observed.recorded.calls else 1
    ) == 1


def varint7(size: int) -> bytes:
    size -= 127
    written = bytearray()
    while size >= 128:
        written.append(size & 127 | 128)
        size >>= 7
    return bytes([*written, size])


def test_a_header_list_at_the_limit_of_its_reader_gets_no_id() -> None:
    observed = Observed()
    observed.client(PREFACE + frame(SETTINGS, 0, 0))
    observed.server(frame(SETTINGS, 0, 0, b"\0\x06" + (400).to_bytes(4, "big")))
    head = frame(HEADERS, END_HEADERS, 1, block(request_headers(INFER.encode(), (b"long", b"v" * 40))))
    observed.client(head + frame(DATA, END_STREAM, 1, framed(infer_request())))
    assert b"x-request-id" not in observed.to_server
    answered(observed)
    assert len(observed.recorded.calls) == 1


IDS: list[tuple[list[tuple[bytes, bytes]], str, list[tuple[bytes, bytes]], str, bool, bool]] = [
    # asked with, id in the message, answered with; the id of the call, is the server told, is the caller told
    ([(b"x-request-id", b"a"), (b"ce-id", b"b")], "m", [], "a", False, True),
    ([(b"seldon-puid", b"c"), (b"ce-id", b"b")], "m", [], "b", False, True),
    ([], "m", [], "m", False, True),
    ([], "", [], "EVENT", True, True),
    ([(b"x-request-id", b"a")], "", [(b"x-request-id", b"a")], "a", False, False),
    ([(b"x-request-id", b"a")], "", [(b"x-request-id", b"z")], "z", False, False),
    ([], "m", [(b"x-request-id", b"z")], "z", False, False),
]


@pytest.mark.parametrize(("asked", "in_message", "answer", "expected", "server_told", "caller_told"), IDS)
def test_the_event_carries_the_id_that_the_caller_sees(
    asked: Any, in_message: str, answer: Any, expected: str, server_told: bool, caller_told: bool
) -> None:
    observed = Observed()
    head = frame(HEADERS, END_HEADERS, 1, block(request_headers(INFER.encode(), *asked)))
    read = one_request(observed, head, framed(infer_request(request_id=in_message)))
    assert (len(read[1][3]) > len(request_headers(b"", *asked))) == server_told
    answer_read = answered(observed, *answer)
    [call] = observed.recorded.calls
    assert call.request_id == (call.event_id if expected == "EVENT" else expected)
    seen = [value.decode() for name, value in answer_read[1][3] if name == b"x-request-id"]
    assert seen == [call.request_id]
    assert (len(answer_read[1][3]) > len(answer_headers(*answer))) == caller_told
    if expected == "z" and asked:
        assert call.request_notes["x-request-id"] == "a"


def test_an_id_in_a_message_behind_a_window_update_is_found_at_once() -> None:
    """As grpcio's clients write it."""
    observed = Observed()
    head = frame(HEADERS, END_HEADERS, 1, block(request_headers())) + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\5")
    read = one_request(observed, head, framed(infer_request(request_id="inside")))
    assert b"x-request-id" not in dict(read[1][3])
    assert answered(observed)[1][3][-1] == (b"x-request-id", b"inside")
    assert observed.recorded.calls[0].request_id == "inside"


def test_trailers_alone_and_interim_answers_are_told_apart() -> None:
    observed = Observed()
    encoder = hpack.Encoder()
    one_request(observed, frame(HEADERS, END_HEADERS, 1, block(request_headers())))
    observed.server(frame(HEADERS, END_HEADERS, 1, block([(b":status", b"103"), (b"link", b"x")], encoder)))
    only = [*answer_headers(), *trailers(5)]
    observed.server(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(only, encoder)))
    read = read_frames(observed.to_client)
    assert [name for name, _ in read[1][3]] == [b":status", b"link"]
    assert read[2][3][-1][0] == b"x-request-id"
    [call] = observed.recorded.calls
    assert (call.grpc_status, call.code, call.response_body) == (5, 404, b"")


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [
        (frame(DATA, END_STREAM, 1, framed(b"out")), 2, 500),
        (reset(1, 7), 14, 503),
        (reset(1, 8), 1, 499),
        (reset(1, 11), 8, 429),
        (reset(1, 2), 13, 500),
    ],
)
def test_an_answer_without_a_status_has_the_one_that_callers_are_told(ending: bytes, status: int, code: int) -> None:
    observed = Observed()
    one_request(observed, frame(HEADERS, END_HEADERS, 1, block(request_headers())))
    observed.server(frame(HEADERS, END_HEADERS, 1, block(answer_headers())) + ending)
    [call] = observed.recorded.calls
    assert (call.grpc_status, call.code, call.status_code) == (status, code, 200)


def test_an_answer_that_is_no_grpc_has_its_http_status() -> None:
    observed = Observed()
    one_request(observed, frame(HEADERS, END_HEADERS, 1, block(request_headers())))
    observed.server(frame(HEADERS, END_HEADERS | END_STREAM, 1, block([(b":status", b"502")])))
    [call] = observed.recorded.calls
    assert (call.grpc_status, call.code, call.status_code) == (14, 502, 502)


@pytest.mark.parametrize(("passed_s", "code"), [(1.0, 499), (1.95, 504), (2.5, 504)])
def test_a_client_that_leaves_at_its_deadline_waited_in_vain(passed_s: float, code: int) -> None:
    observed = Observed()
    head = block(request_headers(INFER.encode(), (b"grpc-timeout", b"2000m")))
    one_request(observed, frame(HEADERS, END_HEADERS, 1, head))
    observed.now[0] += passed_s
    observed.client(reset(1, 8))
    [call] = observed.recorded.calls
    assert (call.code, call.status_code) == (code, code)
    assert call.grpc_status == (4 if code == 504 else 1)


def test_a_message_that_never_came_whole_is_marked() -> None:
    observed = Observed()
    one_request(observed, frame(HEADERS, END_HEADERS, 1, block(request_headers())), framed(infer_request())[:-1])
    answered(observed)
    assert observed.recorded.calls[0].truncated


def test_calls_that_the_server_never_looked_at_are_counted_where_they_are_asked_again() -> None:
    observed = Observed()
    encoder = hpack.Encoder()
    observed.client(PREFACE)
    for stream in (1, 3, 5):
        observed.client(frame(HEADERS, END_HEADERS, stream, block(request_headers(), encoder)))
    observed.server(goaway(3))
    observed.client(frame(HEADERS, END_HEADERS, 7, block(request_headers(), encoder)))  # it crossed the goodbye
    assert observed.tap.open_streams == 2
    observed.tap.client_gone()
    assert len(observed.recorded.calls) == 2
    assert observed.parts.room.held_bytes == 0


def test_more_calls_than_are_followed_are_counted_and_passed() -> None:
    observed = Observed(changes={"max_calls": 2})
    encoder = hpack.Encoder()
    observed.client(PREFACE)
    for stream in (1, 3, 5):
        head = frame(HEADERS, END_HEADERS, stream, block(request_headers(), encoder))
        observed.client(head + frame(DATA, END_STREAM, stream, framed(infer_request())))
    assert observed.dropped() == {"too_many_calls": 1}
    assert len([read for read in read_frames(observed.to_server) if read[0] == "DataFrame"]) == 3


def test_bodies_in_flight_have_a_bound_together() -> None:
    observed = Observed(changes={"room": CaptureRoom(3000)})
    encoder = hpack.Encoder()
    observed.client(PREFACE)
    for stream in (1, 3):
        head = frame(HEADERS, END_HEADERS, stream, block(request_headers(), encoder))
        observed.client(head + frame(DATA, END_STREAM, stream, framed(b"x" * 2000)))
    assert observed.parts.room.held_bytes == 3000
    observed.tap.client_gone()
    assert [call.truncated for call in observed.recorded.calls] == [False, True]
    assert observed.parts.room.held_bytes == 0


@pytest.mark.parametrize(
    "nonsense",
    [
        frame(HEADERS, END_HEADERS, 3, b"\xff\xff\xff\xff\xff\xff\xff"),
        frame(HEADERS, END_HEADERS | PADDED, 3, b"\xff\x82"),
        frame(HEADERS, 0, 3, b"\x82") + frame(DATA, 0, 1, b"x"),
        frame(HEADERS, END_HEADERS, 3, b"\x3f\xff\xff\x7f"),
        frame(HEADERS, 0, 3, b"\0" * 16384) + frame(CONTINUATION, 0, 3, b"\0" * 16384) * 5,
        frame(SETTINGS, 0, 0, b"12345"),
        frame(DATA, PADDED, 1, b"\x09x"),
    ],
)
def test_what_cannot_be_understood_goes_on_unobserved_and_is_counted(nonsense: bytes) -> None:
    observed = Observed()
    one_request(observed, frame(HEADERS, END_HEADERS, 1, block(request_headers())))
    before = observed.to_server
    observed.client(nonsense)
    observed.client(b"and so on")
    assert observed.to_server == before + nonsense + b"and so on"
    assert observed.dropped() == {"connection_unobserved": 1}
    assert observed.server(b"anything") == b"anything"
    assert observed.parts.room.held_bytes == 0


def test_a_promised_answer_keeps_the_tables_in_step() -> None:
    observed = Observed()
    one_request(observed, frame(HEADERS, END_HEADERS, 1, block(request_headers())))
    encoder = hpack.Encoder()
    promise = block([*request_headers(), (b"own", b"value")], encoder)
    observed.server(frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + promise))
    observed.server(
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block([*answer_headers((b"own", b"value")), *trailers()], encoder))
    )
    assert (b"own", b"value") in read_frames(observed.to_client)[-1][3]
    assert observed.recorded.calls[0].grpc_status == 0


def test_a_goodbye_stands_between_frames() -> None:
    observed = Observed()
    assert observed.tap.say_goodbye() == b""  # the server has not said its settings yet
    observed = Observed()
    one_request(observed, frame(HEADERS, END_HEADERS, 1, block(request_headers())))
    said = frame(DATA, 0, 1, framed(b"a long answer"))
    observed.server(frame(HEADERS, END_HEADERS, 1, block(answer_headers())) + said[:12])
    assert observed.tap.say_goodbye() == b""
    observed.server(said[12:])
    observed.server(frame(DATA, 0, 1, framed(b"more")))
    kinds = [read[0] for read in read_frames(observed.to_client)]
    assert kinds == ["SettingsFrame", "HeadersFrame", "DataFrame", "GoAwayFrame", "DataFrame"]
    assert observed.to_client.count(frame(GOAWAY, 0, 0, b"\x7f\xff\xff\xff\0\0\0\0")) == 1


def test_a_server_that_is_leaving_anyway_is_not_interrupted() -> None:
    observed = Observed()
    one_request(observed, frame(HEADERS, END_HEADERS, 1, block(request_headers())))
    observed.server(goaway(1))
    assert observed.tap.say_goodbye() == b""


def test_a_connection_that_goes_on_unobserved_is_counted_by_reason() -> None:
    for said, reason in (
        (b"GET / HTTP/1.1\r\n\r\n", "not_http2"),
        (PREFACE + frame(HEADERS, END_HEADERS, 1, b"\x80"), "bad_header_block"),
        (PREFACE + frame(HEADERS, END_HEADERS, 1, b"\x04\x81\x00"), "bad_header_block"),  # bad Huffman code
        (PREFACE + frame(SETTINGS, 0, 0, b"12345"), "bad_frames"),
        (PREFACE + frame(HEADERS, END_HEADERS | PADDED, 1), "bad_frames"),
        (PREFACE + frame(HEADERS, END_HEADERS | PADDED, 1) + frame(SETTINGS, 0, 0), "bad_frames"),
        (PREFACE + frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * 200, "bad_frames"),
    ):
        observed = Observed()
        observed.client(said)
        assert observed.meters._unobserved == {reason: 1}
        assert observed.to_server == said
        [family] = [found for found in observed.meters.collect() if found.name.endswith("unobserved_connections")]
        assert [(sample.labels, sample.value) for sample in family.samples] == [({"reason": reason}, 1.0)]
