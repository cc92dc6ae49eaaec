"""By which id server, caller and event speak of a call: what a head waits for, and for how long."""

import pytest

from logger_sidecar.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from tests.logger_sidecar.grpc.conversations import Observed, read_frames, request_headers
from tests.logger_sidecar.grpc.servers import STREAM_INFER, framed, infer_request
from tests.logger_sidecar.grpc.test_tap import PLAIN, answered, block


def test_a_head_waits_for_a_body_that_follows_at_once_and_may_say_an_id() -> None:
    observed = Observed()
    head = frame(HEADERS, END_HEADERS, 1, block(request_headers()))
    settled = frame(SETTINGS, ACK, 0)
    assert observed.client(PREFACE + head) == PREFACE
    assert observed.client(settled) == b""
    body = frame(DATA, END_STREAM, 1, framed(infer_request(request_id="late")))
    assert observed.client(body) == head + settled + body
    assert answered(observed)[0][3][-1] == (b"x-request-id", b"late")
    assert observed.recorded.calls[0].request_id == "late"


def test_a_head_that_waits_goes_on_with_an_id_where_the_body_says_none() -> None:
    observed = Observed()
    observed.client(PREFACE + frame(HEADERS, END_HEADERS, 1, block(request_headers())))
    observed.client(frame(DATA, END_STREAM, 1, framed(infer_request())))
    told = dict(read_frames(observed.to_server)[0][3])[b"x-request-id"]
    assert answered(observed)[0][3][-1] == (b"x-request-id", told)
    assert observed.recorded.calls[0].request_id == told.decode()


def test_a_head_does_not_wait_long_and_the_server_is_told_no_id_where_the_body_may_say_another() -> None:
    observed = Observed()
    head = frame(HEADERS, END_HEADERS, 1, block(request_headers()))
    observed.client(PREFACE + head)
    assert observed.tap.keeps_back
    assert observed.tap.let_go() == head
    assert not observed.tap.keeps_back
    assert observed.tap.let_go() == b""
    observed.client(frame(DATA, END_STREAM, 1, framed(infer_request(request_id="late"))))
    assert answered(observed)[0][3][-1] == (b"x-request-id", b"late")
    assert observed.recorded.calls[0].request_id == "late"


@pytest.mark.parametrize("behind", [frame(HEADERS, END_HEADERS, 3, b"\x83"), frame(WINDOW_UPDATE, 0, 0, b"0" * 4096)])
def test_a_head_does_not_wait_behind_another_nor_for_much(behind: bytes) -> None:
    observed = Observed()
    head = frame(HEADERS, END_HEADERS, 1, block(request_headers()))
    assert observed.client(PREFACE + head + behind) == PREFACE + head + behind


def test_a_body_that_waits_for_the_servers_word_keeps_no_head_back() -> None:
    observed = Observed()
    asked = [(b":method", b"POST"), (b":path", PLAIN), (b"expect", b"100-continue")]
    head = frame(HEADERS, END_HEADERS, 1, block(asked))
    assert observed.client(PREFACE + head) == PREFACE + head


def test_a_head_that_waits_does_not_outlive_what_is_understood() -> None:
    observed = Observed()
    head = frame(HEADERS, END_HEADERS, 1, block(request_headers()))
    observed.client(PREFACE + head)
    observed.tap.from_server(frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"))
    assert not observed.tap.is_observed
    assert not observed.tap.keeps_back
    assert observed.tap.let_go() == head


@pytest.mark.parametrize("path", [STREAM_INFER.encode(), PLAIN])
def test_what_the_server_was_told_is_the_id_for_all_whatever_the_body_says_later(path: bytes) -> None:
    observed = Observed()
    asked = [(b":method", b"POST"), (b":path", path)]
    asked += [] if path == PLAIN else [(b"content-type", b"application/grpc")]
    begun = frame(HEADERS, END_HEADERS, 1, block(asked))
    observed.client(PREFACE + begun + (frame(DATA, 0, 1, b"{") if path == PLAIN else b""))
    late = b'"id": "late"}' if path == PLAIN else framed(infer_request(request_id="late"))
    observed.client(frame(DATA, END_STREAM, 1, late))
    told = dict(read_frames(observed.to_server)[0][3])[b"x-request-id"]
    assert answered(observed)[0][3][-1] == (b"x-request-id", told)
    assert observed.recorded.calls[0].request_id == told.decode() != "late"
