"""One request and its answer while they pass: what capture needs to know, gathered on the way."""

from logger_sidecar.heads import NO_HEAD, Head
from logger_sidecar.routes import Route


class Half:
    """One direction: its head and as much of its body as is captured. It is itself where body parts go."""

    __slots__ = ("_room", "head", "parts", "seen_bytes", "truncated")

    def __init__(self) -> None:
        self.begin(NO_HEAD, 0)

    def begin(self, head: Head, room_bytes: int) -> None:
        """Forget everything; at most ``room_bytes`` of the new body are kept."""
        self.head = head
        self._room = room_bytes
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


class Exchange:
    """One request and its answer; a connection has one and uses it again for each request.

    ``route`` None: not an inference, passed through unseen. ``started_s``, ``first_byte_s``: monotonic seconds of the
    first request byte and the first answer byte. ``time_ns``: arrival on the deployment's clock.
    ``held``: all bytes sent upstream so far while they are few enough to be sent again, else None.
    """

    __slots__ = (
        "event_id",
        "first_byte_s",
        "held",
        "id_line",
        "request",
        "request_id",
        "response",
        "route",
        "started_s",
        "status",
        "time_ns",
    )

    def __init__(self) -> None:
        self.request = Half()
        self.response = Half()
        self.begin(NO_HEAD, None, 0, 0.0)

    def begin(self, head: Head, route: Route | None, room_bytes: int, started_s: float) -> None:
        """Forget everything; a request with this head begins. ``room_bytes``: how much of each body is kept."""
        self.route = route
        self.started_s = started_s
        self.request.begin(head, room_bytes)
        self.response.begin(NO_HEAD, room_bytes)
        self.event_id = ""
        self.request_id = ""
        self.id_line = b""
        self.held: bytes | None = None
        self.first_byte_s = 0.0
        self.time_ns = 0
        self.status = 0
