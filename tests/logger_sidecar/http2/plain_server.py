"""A model server that speaks HTTP/2 and no gRPC, made with python-hyper's h2."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

Headers = list[tuple[str, str]]
#: A request with this header is answered at the first piece of its body.
EARLY = "x-early"


@dataclass
class Asked:
    """One request as the server got it."""

    headers: dict[str, str]
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)


@dataclass
class Answer:
    """What it answers. ``pieces``: of the body, sent once ``go_on`` is set. ``reset``: ends it so."""

    status: int = 200
    headers: Headers = field(default_factory=lambda: [("content-type", "application/json")])
    pieces: list[bytes] = field(default_factory=lambda: [b"{}"])
    trailers: Headers = field(default_factory=list)
    go_on: threading.Event | None = None
    reset: int | None = None


class PlainServer:
    """Answers each request with what ``script`` makes of it.

    ``asked``: the requests, in order. ``begun``: of each request the head, before anything of its body.
    """

    def __init__(self, script: Callable[[Asked], Answer]) -> None:
        self.asked: list[Asked] = []
        self.begun: list[dict[str, str]] = []
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        peer.initiate_connection()
        streams: dict[int, Asked] = {}
        with contextlib.suppress(OSError), connection:
            connection.sendall(peer.data_to_send())
            while data := connection.recv(65536):
                for event in peer.receive_data(data):
                    self._take(peer, connection, streams, event)
                connection.sendall(peer.data_to_send())

    def _take(
        self,
        peer: h2.connection.H2Connection,
        connection: socket.socket,
        streams: dict[int, Asked],
        event: h2.events.Event,
    ) -> None:
        if isinstance(event, h2.events.RequestReceived):
            streams[event.stream_id] = Asked(dict(event.headers))
            self.begun.append(dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            asked = streams[event.stream_id]
            asked.body += event.data
            peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if EARLY in asked.headers:
                self._answer(peer, connection, event.stream_id, self._script(asked))
        elif isinstance(event, h2.events.TrailersReceived):
            streams[event.stream_id].trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            asked = streams.pop(event.stream_id)
            self.asked.append(asked)
            self._answer(peer, connection, event.stream_id, self._script(asked))

    def _answer(self, peer: h2.connection.H2Connection, connection: socket.socket, stream: int, answer: Answer) -> None:
        ends = not answer.pieces and not answer.trailers and answer.reset is None
        peer.send_headers(stream, [(":status", str(answer.status)), *answer.headers], end_stream=ends)
        for number, piece in enumerate(answer.pieces):
            if answer.go_on is not None:
                connection.sendall(peer.data_to_send())
                answer.go_on.wait(60)
            is_last = number == len(answer.pieces) - 1 and not answer.trailers and answer.reset is None
            for start in range(0, len(piece) or 1, 16384):
                part = piece[start : start + 16384]
                peer.send_data(stream, part, end_stream=is_last and start + 16384 >= len(piece))
        if answer.trailers:
            peer.send_headers(stream, answer.trailers, end_stream=True)
        if answer.reset is not None:
            peer.reset_stream(stream, answer.reset)


@contextlib.contextmanager
def plain_server(script: Callable[[Asked], Answer] | None = None) -> Iterator[PlainServer]:
    """A server; without a script it answers everything with an empty JSON object."""
    made = PlainServer(script or (lambda asked: Answer()))
    try:
        yield made
    finally:
        made.close()
