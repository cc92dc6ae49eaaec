"""Time to the first byte and to the first message of streamed answers, of real servers and of hand-made frames."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import hpack
import pytest

from logger_sidecar.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, frame
from tests.logger_sidecar.grpc.conversations import Observed, answer_headers, request_headers, trailers
from tests.logger_sidecar.grpc.servers import (
    INFER,
    STREAM_INFER,
    call,
    channel,
    framed,
    infer_request,
    served,
)
from tests.logger_sidecar.wire import sidecar
from tests.parts.protobuf import field


def test_a_stream_says_when_its_head_and_its_first_message_came(tmp_path: Path) -> None:
    pauses_s: list[float] = []
    heard, received = threading.Event(), threading.Event()

    def answer(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        begun_s = time.monotonic()
        context.send_initial_metadata(())
        assert heard.wait(60)
        time.sleep(0.05)
        pauses_s.append(time.monotonic() - begun_s)
        yield field(2, infer_request())
        assert received.wait(60)
        time.sleep(0.05)
        yield field(2, infer_request())

    with served(stream_infer=answer) as server, sidecar(server.url, tmp_path) as running:
        with channel(running.sidecar.listen_port) as made:
            answers = made.stream_stream(STREAM_INFER)(iter([infer_request()]), timeout=60)
            answers.initial_metadata()
            heard.set()
            next(answers)
            received.set()
            assert len(list(answers)) == 1
        [event] = running.events()
    assert event.chunk_count == 2
    assert 0 < event.ttfb_ms <= event.ttft_ms - 50 < event.ttft_ms <= event.duration_ms - 50
    assert event.ttft_ms >= pauses_s[0] * 1e3


def test_a_unary_call_has_a_first_byte_and_no_first_message(tmp_path: Path) -> None:
    with served() as server, sidecar(server.url, tmp_path) as running:
        with channel(running.sidecar.listen_port) as made:
            call(made, INFER, infer_request())
        [event] = running.events()
    assert 0 < event.ttfb_ms <= event.duration_ms
    assert event.ttft_ms == 0.0


def test_a_server_streaming_call_of_another_service_has_one_too(tmp_path: Path) -> None:
    captured = ("test.Any/Answers", "test.Any/Unary")
    with served() as server, sidecar(server.url, tmp_path, grpc_capture_methods=captured) as running:
        with channel(running.sidecar.listen_port) as made:
            list(call(made, "/test.Any/Answers", b"x"))
            call(made, "/test.Any/Unary", b"x")
        stream, unary = running.events()
    assert 0 < stream.ttfb_ms <= stream.ttft_ms <= stream.duration_ms
    assert (unary.chunk_count, unary.ttft_ms) == (0, 0.0)


def answer_pieces(observed: Observed, pieces: list[tuple[float, bytes]]) -> None:
    """A streamed call, answered piece by piece at these seconds after it began."""
    encoder = hpack.Encoder()
    head = hpack.Encoder().encode(request_headers(STREAM_INFER.encode()))
    observed.client(
        PREFACE + frame(HEADERS, END_HEADERS, 1, head) + frame(DATA, END_STREAM, 1, framed(infer_request()))
    )
    begun_s = observed.now[0]
    observed.now[0] = begun_s + 1.0
    observed.server(frame(HEADERS, END_HEADERS, 1, encoder.encode(answer_headers())))
    for at_s, piece in pieces:
        observed.now[0] = begun_s + at_s
        observed.server(frame(DATA, 0, 1, piece))
    observed.now[0] = begun_s + 9.0
    observed.server(frame(HEADERS, END_HEADERS | END_STREAM, 1, encoder.encode(trailers())))


CONTENT, ERROR = framed(field(2, infer_request())), framed(field(1, "out of memory"))


@pytest.mark.parametrize(
    ("pieces", "first_s"),
    [
        ([(2.0, CONTENT), (3.0, CONTENT)], 2.0),
        ([(2.0, CONTENT[:3]), (3.0, CONTENT[3:20]), (4.0, CONTENT[20:]), (5.0, CONTENT)], 4.0),
        ([(2.0, CONTENT[:30]), (3.0, CONTENT[30:] + CONTENT[:2]), (4.0, CONTENT[2:])], 3.0),
        ([(2.0, CONTENT + ERROR)], 2.0),
        ([(2.0, ERROR), (3.0, CONTENT)], None),
        ([(2.0, CONTENT[:-1])], None),
        ([], None),
    ],
)
def test_the_first_message_counts_when_it_is_whole_and_no_error(
    pieces: list[tuple[float, bytes]], first_s: float | None
) -> None:
    observed = Observed()
    answer_pieces(observed, pieces)
    [made] = observed.recorded.calls
    assert made.first_byte_s - made.started_s == 1.0
    assert (made.first_message_s - made.started_s if made.first_message_s else None) == first_s
