"""Heads of requests and responses: parsed once, by httptools, and forwarded as they came wherever that is right.

The parser is fed the head alone; bodies are framed by counting (``Content-Length``) or by ``chunked.ChunkedScanner``.
"""

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
_NO_HEADERS: dict[str, str] = {}


class HeadError(Exception):
    """A head that cannot be forwarded. ``status``: what to answer the client with."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class HeaderNames:
    """Which headers mean something, for any spelling seen; shared by all connections."""

    def __init__(self, captured: Collection[str]) -> None:
        self._codes = dict(_CODES)
        for name in (names.HEADER_BINARY_LENGTH, *captured):
            self._codes.setdefault(name.lower().encode(), _KEPT)
        self._spellings: dict[bytes, int] = {}
        #: Code of a spelling seen before; a plain dict lookup on the path.
        self.known = self._spellings.get

    def learn(self, name: bytes) -> int:
        """The code of a spelling not seen before."""
        code = self._codes.get(name.lower(), 0)
        if len(self._spellings) < _SPELLINGS:
            self._spellings[name] = code
        return code


class _Head:
    """What both kinds of head have in common; filled by the parser's callbacks, valid until the next ``parse``."""

    def __init__(self, header_names: HeaderNames) -> None:
        self._names = header_names
        self._known = header_names.known
        self._in_step = False
        self._body_due = False
        # The newest head that was read well. A client or server that says the same again, byte for byte, as most do,
        # is understood without reading it again.
        self._newest = b""
        self._clear()

    def _clear(self) -> None:
        self.content_length = -1
        self.chunked = False
        self.content_type: str | None = None
        self.content_encoding: str | None = None
        self.traceparent: str | None = None
        self.variant = ""
        self.request_id = ""
        self.is_probe = False
        self.expects_continue = False
        self.keep_alive = True
        self.must_rewrite = False
        self.headers = _NO_HEADERS
        self._rank = _NO_RANK

    @property
    def names_request_id(self) -> bool:
        """Whether there is an ``x-request-id`` header."""
        return self._rank == _ID

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header."""
        code = self._known(name)
        if code is None:
            code = self._names.learn(name)
        if not code:
            return
        if code == _LENGTH:
            self.content_length = int(value)
        elif code == _TYPE:
            self.content_type = value.decode("latin-1")
        elif code >= _ID:
            self._take_id(code, value)
        else:
            self._take_rare(code, name, value)

    def _take_id(self, code: int, value: bytes) -> None:
        if value and code < self._rank and len(value) <= _ID_LIMIT_BYTES:
            self._rank = code
            self.request_id = value.decode("latin-1")

    def _take_rare(self, code: int, name: bytes, value: bytes) -> None:
        if code == _CONNECTION:
            # "keep-alive" is true of both hops as it stands; anything else concerns one hop only.
            self.must_rewrite = self.must_rewrite or value.lower() != b"keep-alive"
        elif code == _HOP:
            self.must_rewrite = True
        elif code == _ENCODING:
            self.chunked = True  # the parser refuses every other last encoding
        elif code == _CONTENT_ENCODING:
            self.content_encoding = value.decode("latin-1")
        elif code == _TRACE:
            self.traceparent = value.decode("latin-1")
        elif code == _AGENT:
            self.is_probe = value.startswith(b"kube-probe")
        elif code == _EXPECT:
            self.expects_continue = value.lower() == b"100-continue"
        elif code == _VARIANT:
            self.variant = value.decode("latin-1")
        else:
            self._keep(name, value)

    def _keep(self, name: bytes, value: bytes) -> None:
        if self.headers is _NO_HEADERS:
            self.headers = {}
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")


class RequestHead(_Head):
    """The head of the newest request on a client connection."""

    def __init__(self, header_names: HeaderNames) -> None:
        super().__init__(header_names)
        self.target = b""
        self.method = b""
        self._parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        """Called by the parser with the request target, in pieces if need be."""
        self.target += url

    def on_headers_complete(self) -> None:
        """Called by the parser when the head is read."""
        self.keep_alive = self._parser.should_keep_alive()

    def parse(self, head: bytes) -> None:
        """Read one whole head, blank line included; raises HeadError."""
        if head == self._newest:
            self._body_due = False
            return
        self._newest = b""
        if not self._in_step:
            self._parser = httptools.HttpRequestParser(self)
        self._in_step = False
        self._clear()
        self.target = b""
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self.must_rewrite = True
        except httptools.HttpParserError as error:
            raise HeadError(400, str(error)) from error
        self.method = self._parser.get_method()
        if self.method == b"CONNECT":
            raise HeadError(405, "CONNECT is not served here")
        if not head.endswith((b" HTTP/1.1\r", b" HTTP/1.0\r"), 0, head.index(b"\n", 2)):
            raise HeadError(505, "only HTTP/1.0 and HTTP/1.1 are served here")
        # Without a body the parser already stands before the next head and can be used again.
        self._in_step = self.content_length <= 0 and not self.chunked and not self.must_rewrite
        self._body_due = not self.must_rewrite
        self._newest = head

    def pass_body(self, body: bytes) -> None:
        """Step over a body that came whole, so that the parser need not be made anew."""
        if self._body_due:
            self._parser.feed_data(body)
            self._in_step = True


class ResponseHead(_Head):
    """The head of the newest response on an upstream connection."""

    def __init__(self, header_names: HeaderNames) -> None:
        super().__init__(header_names)
        self.status = 0
        self._parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        """Called by the parser when the head is read."""
        self.keep_alive = self._parser.should_keep_alive()

    def parse(self, head: bytes, *, answers_head: bool) -> None:
        """Read one whole head, blank line included; raises HeadError."""
        if head == self._newest and not answers_head:
            self._body_due = False
            return
        self._newest = b""
        self._body_due = False
        if not self._in_step:
            self._parser = httptools.HttpResponseParser(self)
        self._in_step = False
        self._clear()
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self.must_rewrite = True
        except httptools.HttpParserError as error:
            raise HeadError(502, str(error)) from error
        self.status = self._parser.get_status_code()
        if answers_head or self.status in (204, 304) or self.status < 200:
            self.content_length, self.chunked = 0, False
            return
        self._newest = head
        self._body_due = not self.must_rewrite
        self._in_step = self.content_length == 0 and not self.must_rewrite

    def pass_body(self, body: bytes) -> None:
        """Step over a body that came whole, so that the parser need not be made anew."""
        if self._body_due:
            self._parser.feed_data(body)
            self._in_step = True


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
