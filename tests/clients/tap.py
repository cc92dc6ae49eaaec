"""A tap on a connection: passes bytes on as they are, and keeps them, so that what was really said can be compared."""

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Any, Self

import httptools


@dataclass(slots=True)
class Message:
    """One HTTP/1.1 message as httptools, which has no part in the proxy's bodies, reads it.

    ``first``: method and target of a request, status of an answer. ``headers``: in order, names in lower case.
    """

    first: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def without(self, *names: str) -> "Message":
        """The message without these headers."""
        return Message(self.first, [header for header in self.headers if header[0] not in names], self.body)

    def header(self, name: str) -> str | None:
        """The value of a header."""
        return dict(self.headers).get(name)


@dataclass(slots=True)
class Conversation:
    """What both sides of one connection said."""

    sent: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)

    def requests(self) -> list[Message]:
        return _messages(bytes(self.sent), httptools.HttpRequestParser)

    def answers(self) -> list[Message]:
        return _messages(bytes(self.answered), httptools.HttpResponseParser)


class Tap:
    """Listens on a port of its own and passes everything to ``target`` on 127.0.0.1."""

    def __init__(self, target: int) -> None:
        self.conversations: list[Conversation] = []
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> list[Message]:
        """All requests, connection by connection."""
        return [message for conversation in self.conversations for message in conversation.requests()]

    def answers(self) -> list[Message]:
        """All answers, connection by connection."""
        return [message for conversation in self.conversations for message in conversation.answers()]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                conversation = Conversation()
                self.conversations.append(conversation)
                self._open += [client, server]
                for source, sink, kept in (
                    (client, server, conversation.sent),
                    (server, client, conversation.answered),
                ):
                    threading.Thread(target=_pass, args=(source, sink, kept), daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            kept += piece  # before it goes on: whoever has the answer must find it kept
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class _Collector:
    """Takes the parser's callbacks."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def on_message_begin(self) -> None:
        self.messages.append(Message())

    def on_url(self, url: bytes) -> None:
        self.messages[-1].first += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.messages[-1].headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body


def _messages(data: bytes, parser_class: Any) -> list[Message]:
    collector = _Collector()
    parser = parser_class(collector)
    if not data:
        return []

    def complete() -> None:
        is_request = hasattr(parser, "get_method")
        message = collector.messages[-1]
        message.first = (
            f"{parser.get_method().decode()} {message.first}" if is_request else str(parser.get_status_code())
        )

    collector.on_message_complete = complete  # type: ignore[attr-defined]
    parser = parser_class(collector)
    parser.feed_data(data)
    return collector.messages
