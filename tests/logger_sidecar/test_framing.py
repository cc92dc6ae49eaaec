"""Framing that two readers could understand differently is refused and never passed on, from either side.

The forms are those of the published lists of request smuggling (CL.TE, TE.CL, TE.TE, CL.CL, 0.CL, chunk sizes, chunk
extensions, trailers, line ends); the model server here is a bare socket that keeps every byte which arrives.
"""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from logger_sidecar.http1.head_grammar import HeadError, split_answer, split_request
from logger_sidecar.http1.heads import HeaderNames, RequestReader, rewritten
from tests.logger_sidecar.wire import OK, Running, Upstream, answering, post, read_all, read_message, sidecar

CHUNKS = b"0\r\n\r\n"


class Recorder:
    """A model server that keeps all bytes of all connections and answers once per blank line."""

    def __init__(self) -> None:
        self.received = b""
        self.upstream = Upstream(self._script)

    def _script(self, upstream: Upstream, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            self.received += data
            connection.sendall(OK)


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.upstream.close()


@pytest.fixture(scope="module")
def running(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with sidecar(recorder.upstream.url, tmp_path_factory.mktemp("spool")) as started:
        yield started


def head(*lines: bytes, first: bytes = b"POST /x HTTP/1.1") -> bytes:
    return b"\r\n".join([first, b"Host: a", *lines, b"", b""])


TE = b"Transfer-Encoding: chunked"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
#: Name of the form: the request.
AMBIGUOUS: dict[str, bytes] = {
    # CL.TE and TE.CL: both lengths
    "CL.TE": head(b"Content-Length: 6", TE) + CHUNKS + b"G",
    "TE.CL": head(TE, b"Content-Length: 4") + b"5c\r\n" + SMUGGLED + CHUNKS,
    "CL 0 and TE": head(b"Content-Length: 0", TE) + CHUNKS,
    "TE in HTTP/1.0": head(TE, first=b"POST /x HTTP/1.0") + CHUNKS,
    # TE.TE: one Transfer-Encoding that not everybody understands
    "TE xchunked": head(b"Transfer-Encoding: xchunked") + CHUNKS,
    "TE with space before the colon": head(b"Transfer-Encoding : chunked") + CHUNKS,
    "TE with tab before the colon": head(b"Transfer-Encoding\t: chunked") + CHUNKS,
    "TE with tab": head(b"Transfer-Encoding:\tchunked") + CHUNKS,
    "TE with tab behind": head(TE + b"\t") + CHUNKS,
    "TE with space behind": head(TE + b" ") + CHUNKS,
    "TE with vertical tab": head(b"Transfer-Encoding:\x0bchunked") + CHUNKS,
    "TE with form feed": head(b"Transfer-Encoding: \x0cchunked") + CHUNKS,
    "TE with NUL": head(b"Transfer-Encoding: chunked\x00") + CHUNKS,
    "TE with 0xA0": head(b"Transfer-Encoding: \xa0chunked") + CHUNKS,
    "TE with 0xFF": head(b"Transfer-Encoding: \xffchunked") + CHUNKS,
    "TE quoted": head(b'Transfer-Encoding: "chunked"') + CHUNKS,
    "TE in single quotes": head(b"Transfer-Encoding: 'chunked'") + CHUNKS,
    "TE twice, identity": head(TE, b"Transfer-Encoding: identity") + CHUNKS,
    "TE twice, cow": head(TE, b"Transfer-encoding: cow") + CHUNKS,
    "TE twice, chunked": head(TE, TE) + CHUNKS,
    "TE list, identity": head(b"Transfer-Encoding: chunked, identity") + CHUNKS,
    "TE list, gzip": head(b"Transfer-Encoding: gzip, chunked") + CHUNKS,
    "TE list, twice": head(b"Transfer-Encoding: chunked, chunked") + CHUNKS,
    "TE list, empty": head(b"Transfer-Encoding: , chunked") + CHUNKS,
    "TE with parameter": head(b"Transfer-Encoding: chunked;a=b") + CHUNKS,
    "TE identity": head(b"Transfer-Encoding: identity") + CHUNKS,
    "TE empty": head(b"Transfer-Encoding:") + CHUNKS,
    "TE folded": head(b"Transfer-Encoding:\r\n chunked") + CHUNKS,
    "TE folded with tab": head(b"Transfer-Encoding:\r\n\tchunked") + CHUNKS,
    "TE folded into another": head(b"X: y\r\n Transfer-Encoding: chunked") + CHUNKS,
    "TE behind a space": head(b" Transfer-Encoding: chunked") + CHUNKS,
    "TE behind a bare LF": head(b"X: y\nTransfer-Encoding: chunked") + CHUNKS,
    "TE behind a bare CR": head(b"X: y\rTransfer-Encoding: chunked") + CHUNKS,
    "TE behind NUL": head(b"\x00Transfer-Encoding: chunked") + CHUNKS,
    "TE behind 0x01": head(b"\x01Transfer-Encoding: chunked") + CHUNKS,
    "TE with underscore": head(b"Transfer_Encoding: chunked") + CHUNKS,
    "TE with a letter beyond ASCII": head("Tränsfer-Encoding: chunked".encode()) + CHUNKS,
    "TE without colon": head(b"Transfer-Encoding chunked") + CHUNKS,
    # CL.CL and odd lengths
    "CL twice, different": head(b"Content-Length: 3", b"Content-Length: 4") + b"abcd",
    "CL twice, same": head(b"Content-Length: 3", b"Content-Length: 3") + b"abc",
    "CL list": head(b"Content-Length: 3, 3") + b"abc",
    "CL signed plus": head(b"Content-Length: +3") + b"abc",
    "CL signed minus": head(b"Content-Length: -3") + b"abc",
    "CL minus zero": head(b"Content-Length: -0"),
    "CL hexadecimal": head(b"Content-Length: 0x3") + b"abc",
    "CL decimal point": head(b"Content-Length: 3.0") + b"abc",
    "CL exponent": head(b"Content-Length: 3e0") + b"abc",
    "CL with underscore inside": head(b"Content-Length: 1_0") + b"a" * 10,
    "CL with space inside": head(b"Content-Length: 1 0") + b"a" * 10,
    "CL with tab": head(b"Content-Length:\t3") + b"abc",
    "CL with space behind": head(b"Content-Length: 3 ") + b"abc",
    "CL with space before the colon": head(b"Content-Length : 3") + b"abc",
    "CL with words": head(b"Content-Length: 3 bytes") + b"abc",
    "CL empty": head(b"Content-Length:") + b"abc",
    "CL beyond 64 bits": head(b"Content-Length: 18446744073709551619") + b"abc",
    "CL in other digits": head("Content-Length: ٣".encode()) + b"abc",
    "CL folded": head(b"Content-Length:\r\n 3") + b"abc",
    "CL with underscore": head(b"Content_Length: 3") + b"abc",
    "CL with NUL": head(b"Content-Length: 3\x00") + b"abc",
    # 0.CL: a length that one side does not see
    "0.CL behind a bare CR": head(b"X: y\rContent-Length: 36") + SMUGGLED,
    "0.CL with a folded name": head(b"X:\r\n Content-Length: 36") + SMUGGLED,
    "0.CL in front of the colon": head(b"Content-Length \t: 36") + SMUGGLED,
    # line ends and the first line
    "bare LF ends the head": b"GET /x HTTP/1.1\nHost: a\n\n",
    "bare LF ends the head, then CRLF": b"GET /x HTTP/1.1\nHost: a\n\nGET /y HTTP/1.1\r\n\r\n",
    "bare LF ends the first line": b"GET /x HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF ends a line": b"GET /x HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "bare CR in a value": head(b"X: a\rb"),
    "CR CR LF": b"GET /x HTTP/1.1\r\r\nHost: a\r\r\n\r\r\n",
    "LF before the request": b"\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR before the request": b"\r\rGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "space before the request": b" GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in a value": head(b"X: a\x00b"),
    "NUL in the target": b"GET /x\x00y HTTP/1.1\r\nHost: a\r\n\r\n",
    "DEL in a value": head(b"X: a\x7fb"),
    "space in the target": b"GET /x y HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab in the first line": b"GET\t/x\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "space behind the version": b"GET /x HTTP/1.1 \r\nHost: a\r\n\r\n",
    "no version": b"GET /x\r\n\r\n",
    "lower-case version": b"GET /x http/1.1\r\nHost: a\r\n\r\n",
    "method is no token": b"G(T /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty name": head(b": a"),
    "name is no token": head(b"X(Y): a"),
    "line without colon": head(b"nonsense"),
    "folded line": head(b"X: a", b" b"),
    "folded first header": b"GET /x HTTP/1.1\r\n Host: a\r\n\r\n",
    "two hosts": head(b"Host: b"),
    # chunked bodies
    "chunk size signed": head(TE) + b"+3\r\nabc\r\n" + CHUNKS,
    "chunk size minus": head(TE) + b"-3\r\nabc\r\n" + CHUNKS,
    "chunk size 0x": head(TE) + b"0x3\r\nabc\r\n" + CHUNKS,
    "chunk size with space before": head(TE) + b" 3\r\nabc\r\n" + CHUNKS,
    "chunk size with space behind": head(TE) + b"3 \r\nabc\r\n" + CHUNKS,
    "chunk size with underscore": head(TE) + b"1_0\r\n" + b"a" * 16 + b"\r\n" + CHUNKS,
    "chunk size empty": head(TE) + b"\r\nabc\r\n" + CHUNKS,
    "chunk size too long": head(TE) + b"0000000000000000003\r\nabc\r\n" + CHUNKS,
    "chunk size that wraps around": head(TE) + b"10000000000000003\r\nabc\r\n" + CHUNKS,
    "chunk size ends in bare LF": head(TE) + b"3\nabc\r\n" + CHUNKS,
    "chunk size ends in bare CR": head(TE) + b"3\rabc\r\n" + CHUNKS,
    "chunk extension with bare LF": head(TE) + b"3;a\nx\r\nabc\r\n" + CHUNKS,
    "chunk extension with bare CR": head(TE) + b"3;a\rx\r\nabc\r\n" + CHUNKS,
    "chunk extension with NUL": head(TE) + b"3;a=\x00\r\nabc\r\n" + CHUNKS,
    "chunk ends in bare LF": head(TE) + b"3\r\nabc\n" + CHUNKS,
    "chunk ends in two other bytes": head(TE) + b"3\r\nabcXX" + CHUNKS,
    "chunk longer than said": head(TE) + b"3\r\nabcd\r\n" + CHUNKS,
    "last chunk ends in bare LF": head(TE) + b"0\n\n",
    "no blank line but LF": head(TE) + b"0\r\n\n",
    "trailer with bare LF": head(TE) + b"0\r\nX: y\n\r\n",
    "trailer with bare CR": head(TE) + b"0\r\nX: a\rb\r\n\r\n",
    "trailer folded": head(TE) + b"0\r\nX: a\r\n b\r\n\r\n",
    "trailer without colon": head(TE) + b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "trailer that frames": head(TE) + b"0\r\nContent-Length: 5\r\n\r\n",
    "trailer that encodes": head(TE) + b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer that names a host": head(TE) + b"0\r\nHost: b\r\n\r\n",
}


@pytest.mark.parametrize("form", AMBIGUOUS)
def test_an_ambiguous_request_is_a_400_and_not_a_byte_of_it_is_passed_on(
    running: Running, recorder: Recorder, form: str
) -> None:
    recorder.received = b""
    with running.connect() as client:
        client.sendall(AMBIGUOUS[form])
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("driftline sidecar: ")
    assert recorder.received == b""


@pytest.mark.parametrize("form", [form for form in AMBIGUOUS if form.startswith(("chunk", "trailer", "last", "no bl"))])
def test_of_a_badly_chunked_body_that_comes_byte_by_byte_only_well_formed_beginnings_pass(
    tmp_path: Path, form: str
) -> None:
    """What passes before the fault shows could have gone on well: no reader can have seen the fault, or an end."""
    request = AMBIGUOUS[form]
    start = request.index(b"\r\n\r\n") + 4
    # Of its own: what the case before sent may still be on its way to a shared one.
    own = Recorder()
    with sidecar(own.upstream.url, tmp_path) as running, running.connect() as client:
        client.sendall(request[:start])
        for place in range(start, len(request)):
            try:
                client.sendall(request[place : place + 1])
            except OSError:
                break
        answer = read_all(client)
    own.upstream.close()
    assert answer.startswith(b"HTTP/1.1 ")
    body = own.received.partition(b"\r\n\r\n")[2]
    assert request[start:].startswith(body)
    assert len(body) < len(request) - start
    assert not body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Content-Length: 3\r\nContent-Length: 3",
        b"Content-Length: +3",
        b"Content-Length: 3, 3",
        b"Content-Length: 3 ",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: xchunked",
        b"Content-Length : 3",
        b"Content-Length: 3\r\nX: a\r\n b",
        b"Content-Length: 3\nX: a",
        b"Content-Length: 3\r\nX: a\rb",
        b"Content-Length: 3\r\nX: a\x00b",
        b"nonsense",
    ],
)
def test_an_ambiguous_answer_is_a_502(tmp_path: Path, lines: bytes) -> None:
    upstream = Upstream(answering(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\nabc"))
    with sidecar(upstream.url, tmp_path) as started:
        answer = started.ask(post(b"{}", "x-request-id: r"))
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert 'upstream_errors_total{reason="bad_response"} 1.0' in started.admin("/metrics")
        assert [event.status_code for event in started.events()] == [502]
    upstream.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"220 mail.example ready\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_what_is_no_answer_of_http_1_is_a_502_at_once(tmp_path: Path, answer: bytes) -> None:
    upstream = Upstream(answering(answer))
    with sidecar(upstream.url, tmp_path) as started:
        assert started.ask(post()).startswith(b"HTTP/1.1 502 ")
    upstream.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(b"transfer-encoding:chunked") + CHUNKS,
        head(b"TRANSFER-ENCODING: Chunked") + CHUNKS,
        head(TE) + b"3;a=b;c\r\nabc\r\n0;x\r\nX: y\r\n\r\n",
        head(TE) + b'A ;a="b c"\r\n0123456789\r\n000\r\nX:\r\nY: \xe4\r\n\r\n',
        head(b"Content-Length:   3") + b"abc",
        head(b"content-length:3") + b"abc",
        head(b"Content-Length: 000"),
        head(b"X: \t a b \t", b"Y:", b"Z: \xc3\xa4;\xff", b"X-Empty: "),
        head(first=b"GET /\xc3\xa4?a[]={} HTTP/1.1"),
        head(first=b"OPTIONS * HTTP/1.1"),
        head(first=b"GET http://other/x HTTP/1.1"),
        head(b"Content-Length: 3", first=b"GET /x HTTP/1.1") + b"abc",
        head(first=b"M-SEARCH /x HTTP/1.1"),
        head(b"Connection: keep-alive"),
        head(b"TE: trailers", b"Connection: TE"),
        b"GET /x HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_odd_but_clear_passes_unchanged(running: Running, recorder: Recorder, request_bytes: bytes) -> None:
    recorder.received = b""
    assert running.ask(request_bytes) == OK
    assert recorder.received == request_bytes


def test_empty_lines_before_a_request_are_ignored(running: Running, recorder: Recorder) -> None:
    recorder.received = b""
    assert running.ask(b"\r\n\r\n\r\n" + head()) == OK
    assert recorder.received == head()


@pytest.mark.parametrize(
    ("raw", "status"),
    [(b"GET / HTTP/2.0\r\n\r\n", 505), (b"GET / HTTP/0.9\r\n\r\n", 505), (b"GET / HTTP/1.2\r\n\r\n", 505)],
)
def test_other_versions_are_told_so(raw: bytes, status: int) -> None:
    with pytest.raises(HeadError) as caught:
        split_request(raw)
    assert caught.value.status == status


def test_what_is_said_about_a_fault_holds_no_value() -> None:
    for line in (b"Authorization: Bearer s3cret\x01", b"Cookie: s3cret\rx", b"Token s3cret", b"Key : s3cret"):
        with pytest.raises(HeadError) as caught:
            split_request(head(line))
        assert "s3cret" not in str(caught.value)
        assert "3" in str(caught.value)  # the line
    with pytest.raises(HeadError):
        split_answer(b"HTTP/1.1 200 OK\r\nSet-Cookie: s3cret\x01\r\n\r\n")


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"Host"])
def test_connection_cannot_name_the_framing_away(name: bytes) -> None:
    raw = head(b"Connection: close, " + name, b"Content-Length: 1")
    assert b"\r\nContent-Length: 1\r\n" in rewritten(RequestReader(HeaderNames(())).read(raw))
    assert b"\r\nHost: a\r\n" in rewritten(RequestReader(HeaderNames(())).read(raw))


def test_a_refused_client_that_goes_on_talking_still_gets_its_answer(running: Running) -> None:
    with running.connect() as client:
        client.sendall(head(b"Content-Length: 5000000", b"Content-Length: 1"))
        stop = threading.Event()

        def talk() -> None:
            while not stop.is_set():
                try:
                    client.sendall(b"x" * 65536)
                except OSError:
                    return

        talker = threading.Thread(target=talk)
        talker.start()
        answer = read_message(client)
        stop.set()
        talker.join(60)
    assert answer.startswith(b"HTTP/1.1 400 ")
