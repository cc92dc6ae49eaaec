"""What clients are told where there is no server: correct HTTP/2, by the word of another implementation."""

import random

import h2.config
import h2.connection
import h2.events
import pytest

from logger_sidecar.http2.frames import HIGHEST_STREAM, PREFACE, frame
from logger_sidecar.http2.refusal import Refusal
from tests.logger_sidecar.grpc.conversations import read_frames, request_headers


class FifthAndSeventh:
    """The fifth stream is no gRPC; nor is the seventh, which asks for a head alone."""

    def speaks_grpc(self, stream: int) -> bool:
        return stream not in (5, 7)

    def wants_no_body(self, stream: int) -> bool:
        return stream == 7


def told(said: bytes, step: int, detail: str = "gone") -> bytes:
    refusal = Refusal(detail, 502, FifthAndSeventh())
    heard = refusal.greeting()
    for position in range(0, len(said), step):
        heard += refusal.feed(said[position : position + step])
    return heard + refusal.goodbye()


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("whole", [True, False])
def test_each_call_is_unavailable_and_the_client_is_asked_to_come_again(step: int, whole: bool) -> None:
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    peer.initiate_connection()
    for stream in (1, 3):
        peer.send_headers(stream, request_headers())
        peer.send_data(stream, b"x" * 16000, end_stream=whole)
    peer.ping(b"12345678")
    events = peer.receive_data(told(peer.data_to_send(), step, "100 % gone é"))
    answers = {
        event.stream_id: dict(event.headers) for event in events if isinstance(event, h2.events.ResponseReceived)
    }
    assert list(answers) == [1, 3]
    assert answers[1][b"grpc-status"] == b"14"
    assert answers[1][b"grpc-message"] == b"100 %25 gone %C3%A9"
    assert [type(event) for event in events].count(h2.events.StreamEnded) == 2
    assert any(isinstance(event, h2.events.PingAckReceived) for event in events)
    assert any(isinstance(event, h2.events.SettingsAcknowledged) for event in events)
    goodbye = [event.last_stream_id for event in events if isinstance(event, h2.events.ConnectionTerminated)]
    assert goodbye[-1] == HIGHEST_STREAM


def test_what_is_no_grpc_is_refused_as_plain_http() -> None:
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    peer.initiate_connection()
    for stream in (3, 5, 7):
        peer.send_headers(stream, request_headers(), end_stream=True)
    events = peer.receive_data(told(peer.data_to_send(), 10_000, "gone"))
    answers = {
        event.stream_id: dict(event.headers) for event in events if isinstance(event, h2.events.ResponseReceived)
    }
    assert (answers[3][b":status"], answers[3][b"grpc-status"]) == (b"200", b"14")
    assert answers[5][b":status"] == answers[7][b":status"] == b"502"
    assert answers[7][b"content-length"] == answers[5][b"content-length"]
    assert [event.data for event in events if isinstance(event, h2.events.DataReceived)] == [b'{"error": "gone"}']
    assert [type(event) for event in events].count(h2.events.StreamEnded) == 3


def test_noise_is_answered_with_whole_frames_or_not_at_all() -> None:
    random_ = random.Random(7)
    for _ in range(300):
        heard = told(PREFACE + random_.randbytes(random_.randrange(300)), random_.choice([1, 50, 1000]))
        assert read_frames(heard)


def test_a_call_that_crosses_the_goodbye_is_refused_like_the_others() -> None:
    refusal = Refusal("gone", 502, FifthAndSeventh())
    head = frame(1, 4, 1, b"\x82")
    assert len(read_frames(refusal.feed(PREFACE + head))) == 2
    assert read_frames(refusal.goodbye())[0][3] == b"\x7f\xff\xff\xff\0\0\0\0"
    assert len(read_frames(refusal.feed(frame(1, 4, 3, b"\x82")))) == 2
    assert refusal.goodbye() == b""
    assert refusal.count == 2


def test_a_ping_that_comes_in_two_pieces_is_answered_once() -> None:
    ping = frame(6, 0, 0, b"abcdefgh")
    refusal = Refusal("gone", 502, FifthAndSeventh())
    assert refusal.feed(PREFACE + ping[:11]) == b""
    assert read_frames(refusal.feed(ping[11:])) == [("PingFrame", 0, ["ACK"], b"abcdefgh")]
    assert refusal.count == 0
