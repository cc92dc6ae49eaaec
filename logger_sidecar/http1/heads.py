"""Heads of requests and responses: read once, strictly, and forwarded as they came wherever that is right.

Bodies are framed by counting (``Content-Length``) or by ``chunked.ChunkedScanner``. A head whose framing two readers
could understand differently is refused (RFC 9112 sections 6 and 11).
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from driftline import names
from logger_sidecar.http1.head_grammar import FIELD, HeadError, keep_header, split_answer, split_request, text_of
from logger_sidecar.http1.sameness import DATE, ID, ID_LIMIT_BYTES, LENGTH, STATE, TRACE, Place, around, is_plain
from logger_sidecar.traces import valid_traceparent

(
    _HOP,
    _CONNECTION,
    _LENGTH,
    _ENCODING,
    _TYPE,
    _CONTENT_ENCODING,
    _TRACE,
    _AGENT,
    _EXPECT,
    _VARIANT,
    _KEPT,
    _HOST,
    _TE,
    _UPGRADE,
    _LOOKALIKE,
    _DATE,
    _STATE,
    _ID,
) = range(1, 19)
#: Added to the code of a header that means something and is captured as well.
_KEPT_TOO = 64
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
    b"te": _TE,
    b"upgrade": _UPGRADE,
    b"host": _HOST,
    b"date": _DATE,
    names.HEADER_TRACEPARENT.encode(): _TRACE,
    names.HEADER_TRACESTATE.encode(): _STATE,
    names.HEADER_VARIANT.encode(): _VARIANT,
    **{name.encode(): _ID + rank for rank, name in enumerate(names.REQUEST_ID_HEADERS)},
}
_HOP_BY_HOP = frozenset(name for name, code in _CODES.items() if code in (_HOP, _CONNECTION, _TE, _UPGRADE))
#: Without these the body would be read as the next message, or by another host, whatever Connection says.
_NEVER_DROPPED = frozenset({b"content-length", b"transfer-encoding", b"host"})
#: Leading spaces are legal and harmless; tabs and trailing space are legal too, and how smugglers hide.
_LENGTH_VALUE = re.compile(rb" *([0-9]{1,18})")
_CHUNKED_VALUE = re.compile(rb" *chunked", re.IGNORECASE)
#: Servers that turn headers into variables take these for framing headers.
_LOOKALIKES = frozenset({b"content_length", b"transfer_encoding"})
_NO_RANK = 1 << 10
_SPELLINGS = 512
#: Code, name and value of a header line.
_Line = tuple[int, bytes, bytes]
_NO_HEADERS: dict[str, str] = {}
_NO_OPTIONS: frozenset[bytes] = frozenset()


class HeaderNames:
    """Which headers mean something, for any spelling seen; shared by all connections."""

    def __init__(self, captured: Collection[str]) -> None:
        self._spellings: dict[bytes, int] = {}
        #: Code of a spelling seen before; a plain dict lookup on the path.
        self.known = self._spellings.get
        self.follow(captured)

    def follow(self, captured: Collection[str]) -> None:
        """Keep these headers from the next head on that is read; readers must be told to ``forget`` theirs."""
        self._codes = {**_CODES, **dict.fromkeys(_LOOKALIKES, _LOOKALIKE)}
        for name in {names.HEADER_BINARY_LENGTH, *map(str.lower, captured)}:
            code = self._codes.get(name.encode(), 0)
            self._codes[name.encode()] = code + _KEPT_TOO if code else _KEPT
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
        "chunked",
        "content_encoding",
        "content_length",
        "content_type",
        "date",
        "event_part",
        "expects_continue",
        "has_host",
        "headers",
        "is_probe",
        "is_stream",
        "is_upgrade",
        "keep_alive",
        "kind",
        "kind_route",
        "method",
        "minor",
        "must_rewrite",
        "open_end",
        "options",
        "places",
        "rank",
        "raw",
        "request_id",
        "size",
        "status",
        "stretches",
        "takes_whole",
        "target",
        "traceparent",
        "upgrade",
        "variant",
        "whole_bytes",
    )

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.size = len(raw)
        #: Length of the message where head and body together can be passed on as they are, but for a line added to the
        #: head; 0 where that needs a closer look.
        self.whole_bytes = 0
        #: Where other messages may differ from this one and still take the fast path; ``sameness.Said``.
        self.stretches: tuple[bytes, ...] = ()
        self.places = b""
        #: What capture makes of it, kept for the next event whose head this is.
        self.event_part = b""
        #: What capture found out about answers with this head to requests of this route; its own affair.
        self.kind: Any = None
        self.kind_route: object = None
        #: All of it but the blank line: where a header line can be added.
        self.open_end: bytes = raw[:-2]
        self.content_length = -1
        self.date = b""
        self.chunked = False
        self.content_type: str | None = None
        self.content_encoding: str | None = None
        self.traceparent: str | None = None
        self.variant = ""
        #: A character for each byte, as it must be said again; ``request_ids.id_text`` has its text.
        self.request_id = ""
        self.is_probe = False
        #: Server-sent events: passed on as they come, and one event when they have ended.
        self.is_stream = False
        self.expects_continue = False
        self.has_host = False
        self.keep_alive = True
        #: What Connection and Upgrade say.
        self.options = _NO_OPTIONS
        self.upgrade = b""
        #: Asks for another protocol on this connection, or (an answer) speaks of one.
        self.is_upgrade = False
        #: Whether it says something that is true of one hop only.
        self.must_rewrite = False
        #: 1 for HTTP/1.1, 0 for HTTP/1.0.
        self.minor = 1
        #: Whether the answer to this request may be passed on as it came, without a look at the request.
        self.takes_whole = True
        self.headers: dict[str, str] = _NO_HEADERS
        self.rank: int = _NO_RANK
        self.method = b""
        self.target = b""
        self.status = 0

    def outdate(self) -> None:
        """No later message counts as saying the same as this one."""
        self.whole_bytes = 0
        self.stretches, self.places = (), b""

    @property
    def names_request_id(self) -> bool:
        """Whether there is an ``x-request-id`` header."""
        return self.rank == _ID


#: What is known before a head was read.
NO_HEAD = Head(b"")


class _Reader:
    """What reading either kind of head has in common."""

    def __init__(self, header_names: HeaderNames) -> None:
        self._names = header_names
        self._known = header_names.known
        # The newest head that was read well. A client or server that says the same again, byte for byte, as most do,
        # is understood without reading it again.
        self._newest: Head | None = None

    def forget(self) -> None:
        """Read the next head even if it says what the newest said: what is looked for has changed."""
        if self._newest is not None:
            self._newest.outdate()
            self._newest = None

    def _take_fields(self, head: Head, fields: bytes) -> list[_Line]:
        """Take what the header lines say; raises HeadError where they frame the body in no way or in two.

        Returns those in which messages that else say the same differ.
        """
        known = self._known
        differing: list[_Line] = []
        for name, value in FIELD.findall(fields):
            code = known(name)
            if code is None:
                code = self._names.learn(name)
            if not code:
                continue
            if code > _KEPT_TOO:
                _keep(head, name, value.strip(b" \t"))
                code -= _KEPT_TOO
            elif code in _DIFFERING:
                differing.append((code, name, value))
            if code in _FRAMING:
                _take_framing(head, code, value)
            else:
                _take(head, code, name, value.strip(b" \t"))
        if head.chunked and (head.content_length >= 0 or not head.minor):
            raise HeadError(400, "Transfer-Encoding stands beside Content-Length, or in HTTP/1.0")
        if head.options or head.upgrade:
            _settle_options(head)
        elif not head.minor:
            head.keep_alive = False
        return differing


_KEEP_ALIVE = frozenset({b"keep-alive"})
#: Each line of Connection is looked at with all before it.
_MAX_OPTIONS = 64
_FRAMING = frozenset({_LENGTH, _ENCODING, _LOOKALIKE})
#: Where they are captured they are part of the event, and no place.
_DIFFERING = {_LENGTH: LENGTH, _DATE: DATE, _TRACE: TRACE, _STATE: STATE}
#: Options of Connection that are true of both hops as they stand.
_HARMLESS = frozenset({b"keep-alive", b"te", b"upgrade"})


def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip(b" \t") for token in value.lower().split(b",")) - {b""}


def _take_framing(head: Head, code: int, value: bytes) -> None:
    if code == _LENGTH:
        found = _LENGTH_VALUE.fullmatch(value)
        if found is None:
            raise HeadError(400, "Content-Length is not a plain number")
        if head.content_length >= 0:
            raise HeadError(400, "there is more than one Content-Length")
        head.content_length = int(found[1])
    elif code == _ENCODING:
        if _CHUNKED_VALUE.fullmatch(value) is None or head.chunked:
            raise HeadError(400, "Transfer-Encoding is not exactly 'chunked'")
        head.chunked = True
    elif head.method:
        raise HeadError(400, "a header is named like one that frames the body, with underscores")


def _settle_options(head: Head) -> None:
    """What Connection says of this hop, and whether it is about another protocol."""
    options, upgrade = head.options, head.upgrade
    head.keep_alive = b"close" not in options and (bool(head.minor) or b"keep-alive" in options)
    # h2c is the one protocol that is not switched to: whoever asks for it goes on in HTTP/1.1, where calls are seen.
    head.is_upgrade = b"upgrade" in options and head.minor == 1 and bool(upgrade) and b"h2c" not in upgrade.lower()
    if not options <= _HARMLESS or ((upgrade or b"upgrade" in options) and not head.is_upgrade):
        head.must_rewrite = True


def _take(head: Head, code: int, name: bytes, value: bytes) -> None:
    if code == _TYPE:
        head.content_type = value.decode("latin-1")
        head.is_stream = value[:17].lower() == b"text/event-stream"
    elif code >= _ID:
        _take_id(head, code, value)
    elif code == _TRACE:
        head.traceparent = valid_traceparent(value) if head.traceparent is None else None  # of two, neither counts
    elif code == _AGENT:
        head.is_probe = value.startswith(b"kube-probe")
    elif code == _CONTENT_ENCODING:
        head.content_encoding = value.decode("latin-1")
    elif code == _EXPECT:
        head.expects_continue = value.lower() == b"100-continue"
    else:
        _take_rare(head, code, name, value)


def _take_rare(head: Head, code: int, name: bytes, value: bytes) -> None:
    if code == _VARIANT:
        head.variant = text_of(value)
    elif code == _CONNECTION:
        head.options |= _KEEP_ALIVE if value.lower() == b"keep-alive" else _tokens(value)
        if len(head.options) > _MAX_OPTIONS:
            raise HeadError(400, "Connection names too many options")
    elif code == _UPGRADE:
        head.upgrade += value
    elif code == _HOP or (code == _TE and value.lower() != b"trailers"):
        head.must_rewrite = True
    elif code == _KEPT:
        _keep(head, name, value)
    elif code == _HOST:
        _take_host(head)
    elif code == _DATE:
        head.date = value


def _take_host(head: Head) -> None:
    if head.has_host and head.method:
        raise HeadError(400, "there is more than one Host")
    head.has_host = True


def _take_id(head: Head, code: int, value: bytes) -> None:
    if value and code < head.rank and len(value) <= ID_LIMIT_BYTES:
        head.rank = code
        head.request_id = value.decode("latin-1")


def _keep(head: Head, name: bytes, value: bytes) -> None:
    if head.headers is _NO_HEADERS:
        head.headers = {}
    keep_header(head.headers, name.decode("latin-1").lower(), text_of(value))


class RequestReader(_Reader):
    """Reads the heads of the requests on one client connection."""

    def read(self, raw: bytes) -> Head:
        """Read one whole head, blank line included; raises HeadError."""
        if self._newest is not None and raw == self._newest.raw:
            return self._newest
        head = Head(raw)
        head.method, head.target, minor, fields = split_request(raw)
        head.minor = int(minor)
        if head.method == b"CONNECT":
            raise HeadError(405, "CONNECT is not served here")
        differing = self._take_fields(head, fields)
        head.takes_whole = head.method != b"HEAD" and head.minor == 1
        if head.keep_alive and not head.chunked and not head.must_rewrite and head.minor:
            head.whole_bytes = head.size + max(0, head.content_length)
            head.stretches, head.places = around(raw, [*_found(raw, differing), *_found_id(head)])
        self._newest = head
        return head


class ResponseReader(_Reader):
    """Reads the heads of the answers on one connection to the model server."""

    def read(self, raw: bytes, *, answers_head: bool) -> Head:
        """Read one whole head, blank line included; raises HeadError. ``answers_head``: the answer to a HEAD."""
        if self._newest is not None and raw == self._newest.raw and not answers_head:
            return self._newest
        head = Head(raw)
        minor, status, fields = split_answer(raw)
        head.minor, head.status = int(minor), int(status)
        differing = self._take_fields(head, fields)
        if answers_head or head.status in (204, 304) or head.status < 200:
            if head.status == 204 and (head.chunked or head.content_length > 0):
                head.keep_alive = False  # a body that must not be there may be on its way, and is nobody's answer
            head.content_length, head.chunked = 0, False
            return head
        self._newest = head
        is_plain = head.keep_alive and not head.chunked and not head.must_rewrite and not head.names_request_id
        if is_plain and head.content_length >= 0 and not head.is_stream:
            head.whole_bytes = head.size + head.content_length
            head.stretches, head.places = around(raw, _found(raw, differing))
        return head


def _found(raw: bytes, lines: Sequence[_Line]) -> list[Place]:
    """Where the values of these lines stand."""
    found = []
    traces = sum(code == _TRACE for code, _, _ in lines)
    for code, name, value in lines:
        written = value.strip(b" \t")
        kind = _DIFFERING[code]
        if kind in (TRACE, STATE) and ((kind == TRACE and traces > 1) or not is_plain(kind, written)):
            continue  # it is ignored, and another one might not be
        start = raw.index(b"\r\n%b:%b\r\n" % (name, value)) + len(name) + 3 + value.index(written)
        found.append(Place(start, start + len(written), kind))
    return found


def _found_id(head: Head) -> list[Place]:
    """Where the request id stands, if that is one place and nothing else is said by it."""
    if not head.request_id.isascii() or not head.request_id:
        return []
    if any(head.request_id in value for value in head.headers.values()):
        return []  # events carry the header it stands in, maybe with others of its name: no other request says the same
    written = head.request_id.encode("latin-1")
    start = head.raw.index(written)
    end = start + len(written)
    is_value = head.raw.startswith(b": ", start - 2) and head.raw.startswith(b"\r\n", end)
    return [Place(start, end, ID)] if is_value and head.raw.count(written) == 1 else []


def rewritten(
    head: Head, *, without: Collection[bytes] = (), added: bytes = b"", options: Collection[bytes] = ()
) -> bytes:
    """The head without the headers that concern one hop only, without those named, and with ``added`` lines.

    ``added``: whole lines with their line ends. ``options``: what Connection shall say. What a hop says and the next
    one may say too stays: an upgrade that is passed through, and ``TE: trailers``, for trailers are passed on.
    """
    first, *lines = head.raw[:-4].split(b"\r\n")
    split = [(line.partition(b":")[0].lower(), line) for line in lines]
    drop = _HOP_BY_HOP.union(without)
    said = list(options)
    for name, line in split:
        value = line.partition(b":")[2]
        if name == b"connection":
            drop = drop.union(_tokens(value))
        elif name == b"te" and b"trailers" in _tokens(value):
            said.append(b"te")
            added += b"te: trailers\r\n"
    if head.is_upgrade:
        said.append(b"upgrade")
        drop -= {b"upgrade"}
    drop -= _NEVER_DROPPED
    kept = [line for name, line in split if name not in drop]
    if said:
        added += b"connection: " + b", ".join(dict.fromkeys(said)) + b"\r\n"
    return b"\r\n".join([first, *kept, b""]) + added + b"\r\n"
