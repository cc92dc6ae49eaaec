"""One request and its answer while they pass: what capture needs to know, gathered on the way."""

from logger_sidecar.routes import Route

NO_HEADERS: dict[str, str] = {}


class Half:
    """One direction: what describes the body and as much of it as is captured. It is itself where body parts go."""

    __slots__ = ("_room", "content_encoding", "content_type", "headers", "parts", "seen_bytes", "truncated")

    def __init__(self, room_bytes: int) -> None:
        self._room = room_bytes
        self.content_type: str | None = None
        self.content_encoding: str | None = None
        self.headers = NO_HEADERS
        self.parts: list[bytes] = []
        self.seen_bytes = 0
        self.truncated = False

    def append(self, data: bytes, /) -> None:
        """Take one more piece of the body, as far as there is room."""
        size = len(data)
        self.seen_bytes += size
        if size <= self._room:
            self.parts.append(data)
            self._room -= size
        else:
            if self._room:
                self.parts.append(data[: self._room])
                self._room = 0
            self.truncated = True

    @property
    def body(self) -> bytes:
        """What was captured, in one piece."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)


class Exchange:
    """One request and its answer.

    ``route`` None: not an inference, passed through unseen. ``started_s``, ``first_byte_s``: monotonic seconds of the
    first request byte and the first answer byte. ``time_ns``: arrival on the deployment's clock.
    ``held``: all bytes sent upstream so far while they are few enough to be sent again, else None.
    """

    __slots__ = (
        "answers_head",
        "event_id",
        "first_byte_s",
        "held",
        "id_line",
        "keep_alive",
        "request",
        "request_id",
        "response",
        "route",
        "started_s",
        "status",
        "time_ns",
        "traceparent",
        "variant",
    )

    def __init__(self, route: Route | None, room_bytes: int) -> None:
        self.route = route
        self.request = Half(room_bytes)
        self.response = Half(room_bytes)
        self.answers_head = False
        self.keep_alive = True
        self.event_id = ""
        self.request_id = ""
        self.id_line = b""
        self.held: bytes | None = None
        self.started_s = 0.0
        self.first_byte_s = 0.0
        self.time_ns = 0
        self.status = 0
        self.traceparent: str | None = None
        self.variant = ""
