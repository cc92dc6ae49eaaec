"""One request and its answer while they pass: what capture needs to know, gathered on the way."""

from time import monotonic

from logger_sidecar.http1.heads import NO_HEAD, Head
from logger_sidecar.http1.routes import Route

_MAX_ARRIVALS = 4096
#: Methods that may be asked twice (RFC 9110 section 9.2.2).
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
#: A piece shorter than this is joined with those before it: an object for each would take many times its bytes.
_SMALL_BYTES = 512
_JOINED_BYTES = 8192


class Half:
    """One direction: its head and as much of its body as is captured. It is itself where body parts go.

    ``whole``: all of the body, where it came in one piece and is captured whole; ``parts`` is empty then.
    ``arrivals``: None, or for a streamed answer when each piece came: bytes of the body so far, monotonic seconds.
    """

    __slots__ = ("_room", "arrivals", "head", "parts", "seen_bytes", "truncated", "whole")

    def __init__(self) -> None:
        self.head: Head = NO_HEAD
        self.begin(0)

    def begin(self, room_bytes: int) -> None:
        """Forget the body of before; at most ``room_bytes`` of the new one are kept."""
        self._room = room_bytes
        self.parts: list[bytes] = []
        self.whole: bytes | None = None
        self.seen_bytes = 0
        self.truncated = False
        self.arrivals: list[tuple[int, float]] | None = None

    @property
    def body(self) -> bytes:
        """The captured part of the body."""
        if self.whole is not None:
            return bytes(self.whole)
        parts = self.parts
        # As bytes: what was received into shared memory is of a type of its own, which not everything takes.
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def append(self, data: bytes, /) -> None:
        """Take one more piece of the body, as far as there is room."""
        size = len(data)
        self.seen_bytes += size
        if self.arrivals is not None and len(self.arrivals) < _MAX_ARRIVALS:
            self.arrivals.append((self.seen_bytes, monotonic()))
        if size <= self._room:
            self.parts.append(data)
            self._room -= size
            if size < _SMALL_BYTES and len(self.parts) > 1:
                self._join_small()
        else:
            if self._room:
                self.parts.append(data[: self._room])
                self._room = 0
            self.truncated = True

    def cut(self, body: bytes, room_bytes: int) -> None:
        """Take as much of a body that came whole as there is room for."""
        if room_bytes:
            self.parts.append(body[:room_bytes])
            self.truncated = True

    def _join_small(self) -> None:
        # Only pieces of about one length are joined, so that a byte is copied a few times, however many pieces come.
        parts = self.parts
        while len(parts) > 1 and len(parts[-2]) < min(2 * len(parts[-1]), _JOINED_BYTES):
            last = parts.pop()
            parts[-1] += last


class Exchange:
    """One request and its answer; a connection has one and uses it again for each request.

    ``route`` None: not an inference, passed through unseen. ``started_s``, ``first_byte_s``: monotonic seconds of the
    first request byte and the first answer byte. ``time_ns``: arrival on the deployment's clock.
    ``traceparent``: the caller's trace context; None: there is none.
    ``id_end``: the header line that says the request's id, and the blank line behind it; empty: it has none yet.
    ``held``: all bytes sent upstream so far while they are few enough to be sent again, else None; behind them
    ``held_body``, where that is not among them.
    """

    __slots__ = (
        "event_id",
        "first_byte_s",
        "held",
        "held_body",
        "id_end",
        "request",
        "request_id",
        "response",
        "room_bytes",
        "route",
        "started_s",
        "status",
        "time_ns",
        "traceparent",
    )

    def __init__(self) -> None:
        self.request = Half()
        self.response = Half()
        self.room_bytes = 0
        self.begin(NO_HEAD, None, 0, 0.0)

    def begin(self, head: Head, route: Route | None, room_bytes: int, started_s: float) -> None:
        """Forget everything; a request with this head begins. ``room_bytes``: how much of each body is kept."""
        self.route = route
        self.room_bytes = room_bytes
        self.started_s = started_s
        self.request.head = head
        self.request.begin(room_bytes)
        self.response.head = NO_HEAD
        self.response.begin(room_bytes)
        self.traceparent: str | None = head.traceparent
        self.event_id = ""
        self.request_id = ""
        self.id_end = b""
        self.held: bytes | None = None
        self.held_body = b""
        self.first_byte_s = 0.0
        self.time_ns = 0
        self.status = 0

    @property
    def id_line(self) -> bytes:
        """The header line that says the request's id."""
        return self.id_end[:-2]

    @property
    def may_be_repeated(self) -> bool:
        """Whether all that was sent is here still, and does no harm should the server have heard it already."""
        return self.held is not None and (self.route is not None or self.request.head.method in _IDEMPOTENT)

    def begin_whole(self, head: Head, route: Route | None, room_bytes: int, started_s: float, body: bytes) -> None:
        """As ``begin``, with all of the request's body; who calls names it and its trace. The last one was released."""
        self.route = route
        self.started_s = started_s
        request = self.request
        request.head = head
        request.seen_bytes = size = len(body)
        if size <= room_bytes:
            request.whole = body
        else:
            request.cut(body, room_bytes)
        self.room_bytes = room_bytes

    def release(self) -> None:
        """Let everything go: a connection may be idle for long, and must not keep bodies."""
        self.begin(NO_HEAD, None, 0, 0.0)

    def release_whole(self) -> None:
        """As ``release``, where the answer was never taken in: it came whole."""
        self.held = None
        self.held_body = b""
        if self.request.whole is None:
            self.request.begin(0)
        else:
            self.request.whole = None
