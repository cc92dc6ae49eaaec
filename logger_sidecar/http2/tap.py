"""The two directions of one HTTP/2 connection as they pass, and the inferences among its streams.

It takes bytes and gives bytes, and knows nothing of sockets.
"""

from logger_sidecar.http2.followed_call import REASON_TOO_MANY_CALLS, REASON_UNOBSERVED, CallParts, FollowedCall
from logger_sidecar.http2.frames import (
    ACK,
    HIGHEST_STREAM,
    PREFACE,
    SETTINGS_MAX_HEADER_LIST_SIZE,
    goaway,
    number_at,
    settings_in,
)
from logger_sidecar.http2.grpc_calls import GrpcCall
from logger_sidecar.http2.header_blocks import BlockReader
from logger_sidecar.http2.plain_calls import PlainCall
from logger_sidecar.http2.stream_heads import CallHead
from logger_sidecar.http2.walk import FrameWalk

#: So much may come behind a header block that waits for its body; far more than what peers agree on at first.
_MAX_BEHIND_BYTES = 4096


class Streams:
    """The streams of one connection that have begun and not ended.

    A stream that is no inference has no call. ``max_list_bytes``: the largest header list that either side takes, 0
    where it did not say.
    """

    __slots__ = ("client_max_list_bytes", "ended", "highest", "last", "open", "parts", "plain", "server_max_list_bytes")

    def __init__(self, parts: CallParts) -> None:
        self.parts = parts
        #: The same dictionary for as long as the connection lives.
        self.open: dict[int, FollowedCall | None] = {}
        #: The method of each of them that is no gRPC.
        self.plain: dict[int, bytes] = {}
        #: The highest stream that the client has begun.
        self.highest = 0
        #: The last stream that the server will look at; what crosses its goodbye is asked again elsewhere.
        self.last = HIGHEST_STREAM
        self.client_max_list_bytes = 0
        self.server_max_list_bytes = 0
        #: What is left to do for streams that have ended, once their bytes are on their way.
        self.ended: list[tuple[FollowedCall, CallHead | None]] = []

    def begin(self, stream: int, head: CallHead) -> FollowedCall | None:
        """The client begins a stream, whose header block says ``head``; returns its call if it is an inference."""
        self.highest = stream
        if stream > self.last:
            return None
        call: FollowedCall | None = None
        if head.method is not None:
            call = GrpcCall(self.parts, head, head.method)
        elif head.route is not None:
            call = PlainCall(self.parts, head, head.route)
        if len(self.open) >= self.parts.max_calls:
            if call is not None:
                call.drop(REASON_TOO_MANY_CALLS)
            return None
        self.open[stream] = call
        if not head.is_grpc:
            self.plain[stream] = head.verb
        return call

    def pop(self, stream: int) -> FollowedCall | None:
        """Forget a stream; returns its call if it is an inference."""
        if self.plain:
            self.plain.pop(stream, None)
        return self.open.pop(stream, None)

    def end(self, stream: int, trailers: CallHead | None) -> None:
        """The server has said all it will on this stream."""
        call = self.pop(stream)
        if call is not None:
            self.ended.append((call, trailers))

    def settle(self) -> None:
        """Record the calls that have ended."""
        ended, self.ended = self.ended, []
        for call, trailers in ended:
            call.complete(trailers)

    def take_all(self) -> list[FollowedCall]:
        """Forget all streams; returns the calls among them."""
        self.settle()
        calls = [call for call in self.open.values() if call is not None]
        self.open.clear()
        self.plain.clear()
        return calls


class _Requests(FrameWalk):
    """What the client sends."""

    __slots__ = ("_blocks", "_kept_back", "_open", "_streams", "_waits")

    def __init__(self, streams: Streams) -> None:
        super().__init__(PREFACE, streams.parts.max_head_bytes)
        self._streams = streams
        self._open = streams.open
        self._blocks = BlockReader(streams.parts.meaning)
        #: The call whose header block has come and not gone on, and whether there may be one.
        self._kept_back: FollowedCall | None = None
        self._waits = True

    def headers(self, stream: int, block: bytes, ends: bool, data: bytes, behind: int) -> bytes | None:
        """Part of FrameWalk."""
        streams = self._streams
        waits = self._waits and not ends and len(data) - behind < _MAX_BEHIND_BYTES
        call = self._kept_back
        if call is None:
            head = self._blocks.read(block, streams.parts.meaning)
            if stream <= streams.highest or not stream & 1:
                if ends:
                    self.body(stream, b"", 0, 0, ends)
                return b""  # trailers
            call = streams.begin(stream, head)
            if call is None:
                return b""
            if ends:
                call.take_request(b"", 0, 0, ends)
        field = call.announced(data, behind, stream, streams.server_max_list_bytes, waits)
        self._kept_back = call if field is None else None
        return field

    def let_go(self) -> bytes:
        """What was kept back shall go on now."""
        if self._kept_back is None:
            return b""
        self._waits = False
        out = self.go_on()
        self._waits = True
        return out

    @property
    def keeps_back(self) -> bool:
        """Whether a header block has come and not gone on."""
        return self._kept_back is not None and self.walks

    def promised(self, block: bytes) -> None:
        """Part of FrameWalk."""
        self._blocks.read(block, self._streams.parts.meaning)

    def body(self, stream: int, data: bytes, start: int, end: int, ends: bool) -> None:
        """Part of FrameWalk."""
        call = self._open.get(stream)
        if call is not None:
            call.take_request(data, start, end, ends)

    def reset(self, stream: int, payload: bytes) -> None:
        """Part of FrameWalk."""
        call = self._streams.pop(stream)
        if call is not None:
            call.cancel()

    def settings(self, flags: int, payload: bytes) -> None:
        """Part of FrameWalk."""
        if not flags & ACK:
            self._streams.client_max_list_bytes = _max_list_bytes(payload, self._streams.client_max_list_bytes)

    def going_away(self, payload: bytes) -> None:
        """Part of FrameWalk."""


class _Answers(FrameWalk):
    """What the model server sends."""

    __slots__ = ("_blocks", "_open", "_streams", "begun", "goes_away")

    def __init__(self, streams: Streams) -> None:
        super().__init__(b"", streams.parts.max_head_bytes)
        self._streams = streams
        self._open = streams.open
        self._blocks = BlockReader(streams.parts.meaning)
        #: Whether the server has said how it wants to be talked to, as it must at first, and whether it is leaving.
        self.begun = False
        self.goes_away = False

    def headers(self, stream: int, block: bytes, ends: bool, data: bytes, behind: int) -> bytes:
        """Part of FrameWalk."""
        streams = self._streams
        head = self._blocks.read(block, streams.parts.meaning)
        field = b""
        call = self._open.get(stream)
        if call is not None and call.answer is None:
            field = call.take_answer(head, streams.client_max_list_bytes)
        if ends:
            streams.end(stream, head)
        return field

    def promised(self, block: bytes) -> None:
        """Part of FrameWalk."""
        self._blocks.read(block, self._streams.parts.meaning)

    def body(self, stream: int, data: bytes, start: int, end: int, ends: bool) -> None:
        """Part of FrameWalk."""
        call = self._open.get(stream)
        if call is not None and end > start:
            call.take_response(data, start, end)
        if ends:
            self._streams.end(stream, None)

    def reset(self, stream: int, payload: bytes) -> None:
        """Part of FrameWalk."""
        call = self._streams.pop(stream)
        if call is not None:
            call.reset(number_at(payload, 0))

    def settings(self, flags: int, payload: bytes) -> None:
        """Part of FrameWalk."""
        self.begun = True
        if not flags & ACK:
            self._streams.server_max_list_bytes = _max_list_bytes(payload, self._streams.server_max_list_bytes)

    def going_away(self, payload: bytes) -> None:
        """Part of FrameWalk.

        Streams above the last one that the server names were never looked at; clients ask again on another connection
        (RFC 9113, section 6.8), and there the call is seen.
        """
        self.goes_away = True
        self._streams.last = last = number_at(payload, 0) & HIGHEST_STREAM
        for stream in [stream for stream in self._streams.open if stream > last]:
            call = self._streams.pop(stream)
            if call is not None:
                call.forget()


class Tap:
    """Both directions of one connection between a client and the model server."""

    def __init__(self, parts: CallParts) -> None:
        self._streams = Streams(parts)
        self._requests = _Requests(self._streams)
        self._answers = _Answers(self._streams)
        self._says_goaway = False
        self.is_observed = True

    @property
    def open_streams(self) -> int:
        """How many streams have begun and not ended, as far as they are followed."""
        return len(self._streams.open)

    def speaks_grpc(self, stream: int) -> bool:
        """Whether the client spoke gRPC when it began this stream, as far as that can be told."""
        return stream not in self._streams.plain

    def wants_no_body(self, stream: int) -> bool:
        """Whether the answer to what began this stream has no body, whatever it says."""
        return self._streams.plain.get(stream) == b"HEAD"

    def from_client(self, data: bytes) -> bytes:
        """What the client sent; returns what the server shall get now."""
        out = self._requests.feed(data)
        if not self._requests.walks and self.is_observed:
            self._give_up(self._requests.fault)
        return out

    @property
    def keeps_back(self) -> bool:
        """Whether a header block of the client's has not gone on, because a body that says an id may follow at once."""
        return self._requests.keeps_back

    def let_go(self) -> bytes:
        """What was kept back; returns what the server shall get now."""
        return self._requests.let_go()

    def from_server(self, data: bytes) -> bytes:
        """What the server sent; returns what the client shall get now. Call ``settle`` when it is on its way."""
        out = self._answers.feed(data)
        if not self._answers.walks and self.is_observed:
            self._give_up(self._answers.fault)
        if self._says_goaway and self._answers.at_boundary:
            self._says_goaway = False
            out += goaway(HIGHEST_STREAM)
        return out

    def settle(self) -> None:
        """Record what has ended."""
        if self._streams.ended:
            self._streams.settle()

    def say_goodbye(self) -> bytes:
        """Ask the client to begin no more streams; returns what it shall get now, which may be nothing yet.

        The frame names the highest stream there can be, so that whatever crosses it on the way is still served
        (RFC 9113, section 6.8); it concerns no window and no table, so the server need not know.
        """
        answers = self._answers
        if not self.is_observed or answers.goes_away or not answers.begun:
            return b""
        if answers.at_boundary:
            return goaway(HIGHEST_STREAM)
        self._says_goaway = True
        return b""

    def client_gone(self) -> None:
        """Nothing more will come from the client, nor can it be told anything."""
        for call in self._streams.take_all():
            call.cancel()

    def server_gone(self) -> int:
        """Nothing more will come from the server; returns how many calls it left unanswered."""
        calls = self._streams.take_all()
        for call in calls:
            call.lose_server()
        return len(calls)

    def _give_up(self, fault: str) -> None:
        self.is_observed = False
        self._streams.parts.meters.unobserved(fault)
        self._requests.walks = self._answers.walks = False
        for call in self._streams.take_all():
            call.drop(REASON_UNOBSERVED)


def _max_list_bytes(payload: bytes, present: int) -> int:
    for setting, value in settings_in(payload):
        if setting == SETTINGS_MAX_HEADER_LIST_SIZE:
            present = value
    return present
