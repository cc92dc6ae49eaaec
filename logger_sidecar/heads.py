"""Heads of requests and responses: parsed once, by httptools, and forwarded as they came wherever that is right.

The parser is fed the head alone; bodies are framed by counting (``Content-Length``) or by ``chunked.ChunkedScanner``.
"""

import re
from collections.abc import Collection

import httptools

from driftline import names

_HOP, _CONNECTION, _LENGTH, _ENCODING, _TYPE, _CONTENT_ENCODING, _TRACE, _AGENT, _EXPECT, _VARIANT, _KEPT, _ID = range(
    1, 13
)
_CODES: dict[bytes, int] = {
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"transfer-encoding": _ENCODING,
    b"content-type": _TYPE,
    b"content-encoding": _CONTENT_ENCODING,
    b"user-agent": _AGENT,
    b"expect": _EXPECT,
    b"keep-alive": _HOP,
    b"proxy-connection": _HOP,
    b"proxy-authorization": _HOP,
    b"proxy-authenticate": _HOP,
    b"te": _HOP,
    b"upgrade": _HOP,
    names.HEADER_TRACEPARENT.encode(): _TRACE,
    names.HEADER_VARIANT.encode(): _VARIANT,
    **{name.encode(): _ID + rank for rank, name in enumerate(names.REQUEST_ID_HEADERS)},
}
_HOP_BY_HOP = frozenset(name for name, code in _CODES.items() if code in (_HOP, _CONNECTION))
_NO_RANK = 1 << 10
_SPELLINGS = 512
_ID_LIMIT_BYTES = 512
_PLAIN_ID = re.compile(rb"[!-~]{1,%d}" % _ID_LIMIT_BYTES)
_NO_HEADERS: dict[str, str] = {}


class HeadError(Exception):
    """A head that cannot be forwarded. ``status``: what to answer the client with."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class HeaderNames:
    """Which headers mean something, for any spelling seen; shared by all connections."""

    def __init__(self, captured: Collection[str]) -> None:
        self._spellings: dict[bytes, int] = {}
        #: Code of a spelling seen before; a plain dict lookup on the path.
        self.known = self._spellings.get
        self.follow(captured)

    def follow(self, captured: Collection[str]) -> None:
        """Keep these headers from the next head on that is read; readers must be told to ``forget`` theirs."""
        self._codes = dict(_CODES)
        for name in (names.HEADER_BINARY_LENGTH, *captured):
            self._codes.setdefault(name.lower().encode(), _KEPT)
        self._spellings.clear()

    def learn(self, name: bytes) -> int:
        """The code of a spelling not seen before."""
        code = self._codes.get(name.lower(), 0)
        if len(self._spellings) < _SPELLINGS:
            self._spellings[name] = code
        return code


class Head:
    """What one head says, of a request or of an answer. What it says never changes, so it may be kept."""

    __slots__ = (
        "before_id",
        "behind_id",
        "chunked",
        "content_encoding",
        "content_length",
        "content_type",
        "event_part",
        "expects_continue",
        "headers",
        "is_probe",
        "is_stream",
        "keep_alive",
        "method",
        "must_rewrite",
        "open_end",
        "rank",
        "raw",
        "request_id",
        "size",
        "status",
        "target",
        "traceparent",
        "variant",
        "whole_bytes",
    )

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.size = len(raw)
        #: Length of the message where head and body together can be passed on as they are, but for a line added to the
        #: head; 0 where that needs a closer look.
        self.whole_bytes = 0
        #: What stands before and behind the request id, where that is the only place it stands; else empty.
        self.before_id = b""
        self.behind_id = b""
        #: What capture makes of it, kept for the next event whose head this is.
        self.event_part = b""
        #: All of it but the blank line: where a header line can be added.
        self.open_end = raw[:-2]
        self.content_length = -1
        self.chunked = False
        self.content_type: str | None = None
        self.content_encoding: str | None = None
        self.traceparent: str | None = None
        self.variant = ""
        self.request_id = ""
        self.is_probe = False
        #: Server-sent events: passed on as they come, and one event when they have ended.
        self.is_stream = False
        self.expects_continue = False
        self.keep_alive = True
        self.must_rewrite = False
        self.headers = _NO_HEADERS
        self.rank = _NO_RANK
        self.method = b""
        self.target = b""
        self.status = 0

    def outdate(self) -> None:
        """No later message counts as saying the same as this one."""
        self.whole_bytes = 0
        self.before_id = self.behind_id = b""

    @property
    def names_request_id(self) -> bool:
        """Whether there is an ``x-request-id`` header."""
        return self.rank == _ID


#: What is known before a head was read.
NO_HEAD = Head(b"")


class _Reader:
    """What reading either kind of head has in common: the parser's callbacks fill ``_head``."""

    def __init__(self, header_names: HeaderNames) -> None:
        self._names = header_names
        self._known = header_names.known
        self._in_step = False
        self._body_due = False
        # The newest head that was read well. A client or server that says the same again, byte for byte, as most do,
        # is understood without reading it again.
        self._newest: Head | None = None
        self._head = NO_HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header."""
        code = self._known(name)
        if code is None:
            code = self._names.learn(name)
        if not code:
            return
        if code == _LENGTH:
            self._head.content_length = int(value)
        elif code == _TYPE:
            self._head.content_type = value.decode("latin-1")
            self._head.is_stream = value[:17].lower() == b"text/event-stream"
        elif code >= _ID:
            _take_id(self._head, code, value)
        else:
            _take_rare(self._head, code, name, value)

    def forget(self) -> None:
        """Read the next head even if it says what the newest said: what is looked for has changed."""
        if self._newest is not None:
            self._newest.outdate()
            self._newest = None

    def pass_body(self, body: bytes) -> None:
        """Step over a body that came whole, so that the parser need not be made anew."""
        if self._body_due:
            self._feed(body)
            self._in_step = True

    def _feed(self, data: bytes) -> None:
        raise NotImplementedError


def _take_id(head: Head, code: int, value: bytes) -> None:
    if value and code < head.rank and len(value) <= _ID_LIMIT_BYTES:
        head.rank = code
        head.request_id = value.decode("latin-1")


def _take_rare(head: Head, code: int, name: bytes, value: bytes) -> None:
    if code == _CONNECTION:
        # "keep-alive" is true of both hops as it stands; anything else concerns one hop only.
        head.must_rewrite = head.must_rewrite or value.lower() != b"keep-alive"
    elif code == _HOP:
        head.must_rewrite = True
    elif code == _ENCODING:
        head.chunked = True  # the parser refuses every other last encoding
    elif code == _CONTENT_ENCODING:
        head.content_encoding = value.decode("latin-1")
    elif code == _TRACE:
        head.traceparent = value.decode("latin-1")
    elif code == _AGENT:
        head.is_probe = value.startswith(b"kube-probe")
    elif code == _EXPECT:
        head.expects_continue = value.lower() == b"100-continue"
    elif code == _VARIANT:
        head.variant = value.decode("latin-1")
    else:
        _keep(head, name, value)


def _keep(head: Head, name: bytes, value: bytes) -> None:
    if head.headers is _NO_HEADERS:
        head.headers = {}
    head.headers[name.decode("latin-1").lower()] = value.decode("latin-1")


class RequestReader(_Reader):
    """Reads the heads of the requests on one client connection."""

    def __init__(self, header_names: HeaderNames) -> None:
        super().__init__(header_names)
        self._parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        """Called by the parser with the request target, in pieces if need be."""
        self._head.target += url

    def on_headers_complete(self) -> None:
        """Called by the parser when the head is read."""
        self._head.keep_alive = self._parser.should_keep_alive()

    def read(self, raw: bytes) -> Head:
        """Read one whole head, blank line included; raises HeadError."""
        if self._newest is not None and raw == self._newest.raw:
            self._body_due = False
            return self._newest
        self._newest = None
        if not self._in_step:
            self._parser = httptools.HttpRequestParser(self)
        self._in_step = False
        head = self._head = Head(raw)
        try:
            self._parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            head.must_rewrite = True
        except httptools.HttpParserError as error:
            raise HeadError(400, str(error)) from error
        head.method = self._parser.get_method()
        if head.method == b"CONNECT":
            raise HeadError(405, "CONNECT is not served here")
        if not raw.endswith((b" HTTP/1.1\r", b" HTTP/1.0\r"), 0, raw.index(b"\n", 2)):
            raise HeadError(505, "only HTTP/1.0 and HTTP/1.1 are served here")
        # Without a body the parser already stands before the next head and can be used again.
        self._in_step = head.content_length <= 0 and not head.chunked and not head.must_rewrite
        self._body_due = not head.must_rewrite
        if head.keep_alive and not head.chunked and not head.must_rewrite:
            head.whole_bytes = head.size + max(0, head.content_length)
            _find_id(head)
        self._newest = head
        return head

    def _feed(self, data: bytes) -> None:
        self._parser.feed_data(data)


class ResponseReader(_Reader):
    """Reads the heads of the answers on one connection to the model server."""

    def __init__(self, header_names: HeaderNames) -> None:
        super().__init__(header_names)
        self._parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        """Called by the parser when the head is read."""
        self._head.keep_alive = self._parser.should_keep_alive()

    def read(self, raw: bytes, *, answers_head: bool) -> Head:
        """Read one whole head, blank line included; raises HeadError."""
        if self._newest is not None and raw == self._newest.raw and not answers_head:
            self._body_due = False
            return self._newest
        self._newest = None
        self._body_due = False
        if not self._in_step:
            self._parser = httptools.HttpResponseParser(self)
        self._in_step = False
        head = self._head = Head(raw)
        try:
            self._parser.feed_data(raw)
        except httptools.HttpParserUpgrade:
            head.must_rewrite = True
        except httptools.HttpParserError as error:
            raise HeadError(502, str(error)) from error
        head.status = self._parser.get_status_code()
        if answers_head or head.status in (204, 304) or head.status < 200:
            head.content_length, head.chunked = 0, False
            return head
        self._newest = head
        self._body_due = not head.must_rewrite
        self._in_step = head.content_length == 0 and not head.must_rewrite
        is_plain = head.keep_alive and not head.chunked and not head.must_rewrite and not head.names_request_id
        if is_plain and head.content_length >= 0 and not head.is_stream:
            head.whole_bytes = head.size + head.content_length
        return head

    def _feed(self, data: bytes) -> None:
        self._parser.feed_data(data)


def _find_id(head: Head) -> None:
    written = head.request_id.encode("latin-1")
    if written and head.raw.count(written) == 1:
        before, _, behind = head.raw.partition(written)
        if before.endswith(b": ") and behind.startswith(b"\r\n"):
            head.before_id, head.behind_id = before, behind


def other_id(head: Head, data: bytes) -> str:
    """The request id of a whole message that says the same as ``head`` but for this id; else an empty text.

    Only an id of plain visible characters counts, which no parser could take for anything but a header's value.
    """
    start = len(head.before_id)
    if not start or not data.startswith(head.before_id):
        return ""
    found = _PLAIN_ID.match(data, start)
    if found is None or not data.startswith(head.behind_id, found.end()):
        return ""
    is_whole = len(data) == head.whole_bytes - len(head.request_id) + found.end() - start
    return found[0].decode("ascii") if is_whole else ""


def rewritten(head: bytes, *, without: Collection[bytes] = (), added: bytes = b"") -> bytes:
    """The head without the headers that concern one hop only, without those named, and with ``added`` lines.

    ``added``: whole lines with their line ends.
    """
    first, *lines = head[:-4].split(b"\r\n")
    drop = set(_HOP_BY_HOP).union(without)
    split = [(line.partition(b":")[0].lower(), line) for line in lines]
    for name, line in split:
        if name == b"connection":
            drop.update(token.strip().lower() for token in line.partition(b":")[2].split(b","))
    # Framing headers stay whatever Connection says: without them the body would be read as the next message.
    drop -= {b"content-length", b"transfer-encoding", b"host"}
    kept = [line for name, line in split if name not in drop]
    return b"\r\n".join([first, *kept, b""]) + added + b"\r\n"
