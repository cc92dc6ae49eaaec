"""An error inside a stream that answered 200 keeps its event, whatever the rate."""

import socket
from pathlib import Path

import pytest

from logger_sidecar.finishing.stream_folding import fold_stream
from logger_sidecar.recording.stream_errors import END_BYTES, tells_error
from tests.logger_sidecar.wire import Upstream, between, post, read_message

CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "an \\"error\\": 1 \\"type\\":\\"error\\""}}]}\n\n'
DONE = b"data: [DONE]\n\n"
TELLING = [
    b'data: {"error": {"message": "out of memory", "code": 500}}\n\n',
    b'data: {"error":"boom","error_type":"generation"}\n\n',
    b'data: {"object": "error", "message": "boom", "code": 500}\n\n',
    b'event: error\ndata: {"type": "error", "error": {"message": "overloaded"}}\n\n',
    b"event: error\r\ndata: boom\r\n\r\n",
    b'data: {"type": "error", "message": "boom"}\n\n',
]
TELLING_NOTHING = [b"", b'data: {"choices": [], "error": null}\n\n', b"event: errors\ndata: {}\n\n"]


@pytest.mark.parametrize("event", TELLING)
def test_what_folding_finds_is_seen_before(event: bytes) -> None:
    body = CHUNK + event + DONE
    assert fold_stream(body, [], ends_early=False).stream_error
    assert tells_error([body])
    assert tells_error([body[place : place + 7] for place in range(0, len(body), 7)])
    assert tells_error([CHUNK * END_BYTES, event, DONE])


@pytest.mark.parametrize("event", TELLING_NOTHING)
def test_what_is_said_of_errors_is_none(event: bytes) -> None:
    body = CHUNK + event + DONE
    assert not fold_stream(body, [], ends_early=False).stream_error
    assert not tells_error([body])
    assert not tells_error([])


@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize("keep_errors", [True, False])
def test_an_error_in_a_stream_is_kept_at_any_rate(tmp_path: Path, is_chunked: bool, keep_errors: bool) -> None:
    def script(upstream: Upstream, connection: socket.socket) -> None:
        while request := upstream.read(connection):
            body = CHUNK + (TELLING[0] if b"bad" in request else b"") + DONE
            framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + framing + b"\r\n\r\n"
            connection.sendall(head + (b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if is_chunked else body))

    with between(tmp_path, script, sample_rate=0.0, keep_errors=keep_errors) as (running, _upstream):
        with running.connect() as client:
            for said in ("bad", "good", "bad", "good"):
                client.sendall(post(b'{"stream": true}', f"x-request-id: {said}", path="/v1/chat/completions"))
                assert read_message(client).startswith(b"HTTP/1.1 200")
        events = running.events()
        assert [event.request_id for event in events] == (["bad", "bad"] if keep_errors else [])
        assert {(event.sample_rate, event.stream_error) for event in events} <= {(1.0, "out of memory")}
        assert running.outcomes()["sampled_out"] == 4 - len(events)
