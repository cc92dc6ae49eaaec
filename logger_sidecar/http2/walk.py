"""A walk over the frames of one direction of an HTTP/2 connection, beside the path of its bytes.

Everything is let through as it comes, but for header blocks and the few short frames that must be whole to be
understood: those are held until they are. A header field may be added to a block; nothing else is ever changed.
Where something cannot be understood, the walk ends and the bytes go on.
"""

import logging
import struct

from logger_sidecar.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD_BYTES,
    HEADERS,
    PADDED,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WITH_PRIORITY,
    unpack_head,
    with_field,
    with_more,
)
from logger_sidecar.http2.header_blocks import BlockError

_log = logging.getLogger("driftline.sidecar")
_WITH_BLOCK = frozenset({HEADERS, PUSH_PROMISE})
_LOOKED_AT = _WITH_BLOCK | {DATA, RST_STREAM, SETTINGS, GOAWAY}
_STREAM_MASK = 0x7FFFFFFF
_PLAIN_MASK = END_HEADERS | PADDED | WITH_PRIORITY
#: Those that have come are walked over again with each that comes.
_MAX_BLOCK_FRAMES = 128
_FIRST_HEAD_BYTES = HEAD_BYTES + 1  # with the length of the padding


FAULT_FRAMES = "bad_frames"
FAULT_HEADERS = "bad_header_block"
FAULT_PREFACE = "not_http2"
FAULT_INTERNAL = "internal_error"


class WalkError(ValueError):
    """The bytes are not HTTP/2, or more of them would have to be held than may be. ``fault``: in one word."""

    def __init__(self, detail: str, fault: str = FAULT_FRAMES) -> None:
        self.fault = fault
        super().__init__(detail)


class FrameWalk:
    """Walks over the bytes of one direction, however they are cut; subclasses are told what stands in them.

    ``preface``: what stands before the first frame. ``max_held_bytes``: the longest header block, with its frames, that
    is held until it is whole.
    """

    __slots__ = (
        "_body_left",
        "_done",
        "_ends",
        "_held",
        "_left",
        "_max_held_bytes",
        "_needed",
        "_out",
        "_preface",
        "_stream",
        "fault",
        "walks",
    )

    def __init__(self, preface: bytes, max_held_bytes: int) -> None:
        #: False from when the bytes could not be understood any more, and why.
        self.walks = True
        self.fault = ""
        self._preface = preface
        self._max_held_bytes = max_held_bytes
        self._held = bytearray()
        self._needed = len(preface) or HEAD_BYTES
        # Of the bytes being walked over: what goes on in place of the first ``_done`` of them.
        self._out: list[bytes] = []
        self._done = 0
        # Of the frame whose payload is passing: bytes left of it, and of the body in it.
        self._left = 0
        self._body_left = 0
        self._stream = 0
        self._ends = False

    @property
    def at_boundary(self) -> bool:
        """Whether what was let through so far is whole frames."""
        return self.walks and not self._left and not self._preface

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of this direction; returns those that shall go on now."""
        position: int
        end: int
        if self._held:
            self._held += data
            if len(self._held) < self._needed and self.walks:
                return b""
            data = bytes(self._held)
            self._held = bytearray()
        if not self.walks:
            return data
        try:
            position = self._resume(data) if self._left or self._preface else 0
            end = self._walk(data, position) if position >= 0 else 0
        except Exception as error:  # noqa: BLE001 - whatever cannot be understood must not stop the bytes
            self.walks = False
            self.fault = _fault(error)
            end = len(data)
        if end < len(data):
            self._held += data[end:]
        out = self._out
        if not out:
            return data if end == len(data) else data[:end]
        out.append(data[self._done : end])
        self._out, self._done = [], 0
        return b"".join(out)

    def go_on(self) -> bytes:
        """Ask ``headers`` anew about what it keeps back; returns what shall go on now."""
        self._needed = 0
        return self.feed(b"")

    # --- what subclasses are told ---------------------------------------------------------------------------------
    def headers(self, stream: int, block: bytes, ends: bool, data: bytes, behind: int) -> bytes | None:
        """A header block; returns the encoded field that shall stand at its end, or nothing. None keeps it back.

        What is kept back is given again, with all that has come by then, when more has.
        ``ends``: nothing of this direction follows on the stream. ``data[behind:]``: what comes behind, as far as it
        is there.
        """
        raise NotImplementedError

    def promised(self, block: bytes) -> None:
        """A header block that announces an answer nobody asked for."""
        raise NotImplementedError

    def body(self, stream: int, data: bytes, start: int, end: int, ends: bool) -> None:
        """``data[start:end]``, which may be nothing, is a piece of the stream's body.

        ``ends``: nothing of this direction follows on the stream, not even trailers.
        """
        raise NotImplementedError

    def reset(self, stream: int, payload: bytes) -> None:
        """The stream was ended at once."""
        raise NotImplementedError

    def settings(self, flags: int, payload: bytes) -> None:
        """The sender said how it wants to be talked to."""
        raise NotImplementedError

    def going_away(self, payload: bytes) -> None:
        """The sender will not serve new streams."""
        raise NotImplementedError

    # --- the walk -------------------------------------------------------------------------------------------------
    def _resume(self, data: bytes) -> int:
        """What was begun before; returns where the next frame begins, -1 while that cannot be told."""
        if self._left:
            return self._pass_payload(data, len(data))
        return self._pass_preface(data) or -1

    def _walk(self, data: bytes, position: int) -> int:
        """Walk from a frame's beginning as far as there are bytes; returns where those begin that must be held."""
        high: int
        low: int
        kind: int
        flags: int
        stream: int
        start: int
        end: int
        size: int
        size = len(data)
        while size - position >= HEAD_BYTES:
            high, low, kind, flags, stream = unpack_head(data, position)
            start = position + HEAD_BYTES
            end = start + (high << 8 | low)
            # First what stands whole in these bytes and is nothing else, as nearly all of it.
            if kind == HEADERS and end <= size and flags & _PLAIN_MASK == END_HEADERS:
                block = data[start:end]
                field = self.headers(stream & _STREAM_MASK, block, flags & END_STREAM != 0, data, end)
                if field:
                    self._out += (data[self._done : position], with_more(flags, stream, block, field))
                    self._done = end
                elif field is None:
                    self._needed = size - position + 1
                    return position
            elif kind == DATA and end <= size and not flags & PADDED:
                self.body(stream & _STREAM_MASK, data, start, end, flags & END_STREAM != 0)
            elif kind in _LOOKED_AT:
                end = self._take_slowly(data, position, kind, flags, stream & _STREAM_MASK)
                if not end:
                    return position
            position = end
            if position > size:
                self._left = position - size
                return size
        self._needed = HEAD_BYTES
        return position

    def _take_slowly(self, data: bytes, position: int, kind: int, flags: int, stream: int) -> int:
        """Take any frame; returns where it ends, 0 while more of it is needed."""
        high, low, *_ = unpack_head(data, position)
        length = high << 8 | low
        if kind == DATA:
            return self._take_body(data, position, length, flags, stream)
        return self._take_whole(data, position, length, kind, flags, stream)

    def _pass_preface(self, data: bytes) -> int:
        """Where the preface ends; 0 while it is not whole."""
        preface = self._preface
        if data.startswith(preface):
            self._preface = b""
            return len(preface)
        if not preface.startswith(data):
            raise WalkError("no HTTP/2 preface", FAULT_PREFACE)
        self._needed = len(preface)
        return 0

    def _pass_payload(self, data: bytes, size: int) -> int:
        """What is left of a frame whose beginning has gone on before."""
        end = min(self._left, size)
        self._left -= end
        body = min(self._body_left, end)
        self._body_left -= body
        ends = self._ends and not self._left
        if body or ends:
            self._ends = self._ends and not ends
            self.body(self._stream, data, 0, body, ends)
        return end

    def _take_body(self, data: bytes, position: int, length: int, flags: int, stream: int) -> int:
        """Take as much of a body's piece as is there; returns where it ends, 0 while more is needed to say anything."""
        size = len(data)
        start = position + HEAD_BYTES
        end = stop = start + length
        if flags & PADDED:
            if length and start == size:
                self._needed = _FIRST_HEAD_BYTES
                return 0
            padding = data[start] if length else 0
            start += 1
            stop -= padding
            if stop < start:
                raise WalkError("more padding than payload")
        if end <= size:
            self.body(stream, data, start, stop, flags & END_STREAM != 0)
            return end
        if stop > start and size > start:
            self.body(stream, data, start, min(stop, size), False)
        self._stream = stream
        self._body_left = max(0, stop - max(size, start))
        self._ends = flags & END_STREAM != 0
        return end

    def _sequence_end(self, data: bytes, position: int, length: int, flags: int) -> int:
        """Where the frame, or the last one of its header block, ends; 0 while that is not there."""
        size = len(data)
        end = position + HEAD_BYTES + length
        frames = 1
        while not flags & END_HEADERS or end > size:
            known = end if end > size else end + HEAD_BYTES
            if known > size:
                self._hold(known - position)
                return 0
            high, low, kind, flags, _ = unpack_head(data, end)
            if kind != CONTINUATION:
                raise WalkError("a header block that is interrupted")
            frames += 1
            if frames > _MAX_BLOCK_FRAMES:
                raise WalkError("a header block in too many pieces")
            end += HEAD_BYTES + (high << 8 | low)
        if end - position > self._max_held_bytes:
            raise WalkError("a frame that is too long to be held")
        return end

    def _take_whole(self, data: bytes, position: int, length: int, kind: int, flags: int, stream: int) -> int:
        """Take a frame that is held until it is whole; returns where it ends, 0 while it is not."""
        start = position + HEAD_BYTES
        end = start + length
        end = self._sequence_end(data, position, length, flags if kind in _WITH_BLOCK else END_HEADERS)
        if not end:
            return 0
        if kind == RST_STREAM:
            self.reset(stream, data[start:end])
        elif kind == SETTINGS:
            self.settings(flags, data[start:end])
        elif kind == GOAWAY:
            self.going_away(data[start:end])
        elif kind == PUSH_PROMISE:
            self.promised(_block(data, position, end, kind, flags))
        else:
            block = _block(data, position, end, kind, flags)
            field = self.headers(stream, block, flags & END_STREAM != 0, data, end)
            if field:
                self._add(field, data, position, end)
            elif field is None:
                self._needed = len(data) - position + 1
                return 0
        return end

    def _add(self, field: bytes, data: bytes, position: int, end: int) -> None:
        """Let the header frames ``data[position:end]`` go on with one more field."""
        self._out += (data[self._done : position], with_field(data[position:end], field))
        self._done = end

    def _hold(self, needed: int) -> None:
        if needed > self._max_held_bytes:
            raise WalkError("a frame that is too long to be held")
        self._needed = needed


def _fault(error: Exception) -> str:
    if isinstance(error, WalkError):
        return error.fault
    if isinstance(error, BlockError):
        return FAULT_HEADERS
    if isinstance(error, struct.error):
        return FAULT_FRAMES
    _log.error("an HTTP/2 connection goes on unobserved", exc_info=error)
    return FAULT_INTERNAL


def _block(data: bytes, position: int, end: int, kind: int, flags: int) -> bytes:
    """The header block in a sequence of frames, put together."""
    high, low, *_ = unpack_head(data, position)
    start = position + HEAD_BYTES
    stop = following = start + (high << 8 | low)
    if flags & PADDED:
        stop -= data[start] if stop > start else 1  # the length of the padding is part of the payload
        start += 1
    if kind == PUSH_PROMISE:
        start += 4
    elif flags & WITH_PRIORITY:
        start += 5
    if stop < start:
        raise WalkError("more padding than payload")
    if following == end:
        return data[start:stop]
    parts = [data[start:stop]]
    while following < end:
        high, low, *_ = unpack_head(data, following)
        start = following + HEAD_BYTES
        following = start + (high << 8 | low)
        parts.append(data[start:following])
    return b"".join(parts)
