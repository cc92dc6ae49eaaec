"""Inference events out of Kafka messages, by what messages have in common.

Messages of one stream differ in a few headers and in two bodies; all else is the same bytes again and again. The first
message is read the long way (``driftline.events.decode_inference``), and what it has in common with others becomes a
*template*: bytes that must be equal, with gaps between them. Where a later message fits, only its gaps are read. Where
none fits, the long way is taken again, so a template can be wrong about nothing: it decides how fast, not what.
Gaps are read column by column, all messages of a batch at once.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from collector.sources.kafka_records import Headers, RecordError, read_headers, write_headers
from driftline.errors import EventError
from driftline.events import InferenceEvent, Payload, decode_inference
from driftline.records import Malformed

MALFORMED = "malformed"

#: The headers and the value of a message.
Message = tuple[bytes, bytes]
Read = InferenceEvent | Malformed

#: Templates in use at once; the one not needed longest gives way.
_TEMPLATES = 64
_MINUTES = 4096
_LATEST_NS = 2**63 - 10**12
#: Messages read the long way make templates at first, and every so often later.
_EAGER, _SELDOM = 512, 16
_RESPONSE = b'"response":'
#: Bodies that stand nowhere else: if they come out of a message made with a template, its gaps are where it says.
_PROBES = (b'{"\\u007d":[1,"}"]}', b"[2]")
#: 2026-11-21T10:00:00.123456789Z, as our sidecar writes it: its length, and where the digits below the minute are.
_TIME_BYTES = 30
_SECOND_DIGITS = np.array([17, 18, *range(20, 29)])
_DIGIT_NS = 10 ** np.arange(10, -1, -1, dtype=np.int64)


class NoFitError(Exception):
    """A gap holds what has to be read the long way."""


@dataclass(frozen=True, slots=True)
class HeaderTemplate:
    """``pieces`` of a header block with a gap between each two; ``gaps``: the event's field in each gap.

    ``event``: one that was read of such a block, without its bodies. Each gap is the value's length in one byte, then
    the value. A value ends where a control character is, because the next header begins with one, its name's length;
    ``columns`` holds values and lengths against each other.
    """

    pieces: tuple[bytes, ...]
    gaps: tuple[str, ...]
    event: InferenceEvent
    fit: Callable[[bytes], "re.Match[bytes] | None"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        gap = rb"(.)([^\x00-\x1f]*)"
        pattern = re.escape(self.pieces[0]) + b"".join(gap + re.escape(piece) for piece in self.pieces[1:])
        object.__setattr__(self, "fit", re.compile(pattern, re.DOTALL).fullmatch)

    def columns(self, groups: Sequence[tuple[bytes, ...]]) -> dict[str, Sequence[bytes]]:
        """The values in each gap, of blocks that fit; raises NoFitError, ValueError where a length says otherwise."""
        columns = list(zip(*groups, strict=True))
        for lengths, values in zip(columns[::2], columns[1::2], strict=True):
            if b"".join(lengths) != bytes([2 * len(value) for value in values]):  # Kafka doubles what is not negative
                raise NoFitError
        return dict(zip(self.gaps, columns[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class ValueTemplate:
    """What stands before, between and behind the two bodies, and the halves that they belong to."""

    before: bytes
    between: bytes
    behind: bytes
    request: Payload
    response: Payload

    def fill(self, value: bytes) -> tuple[bytes, bytes] | None:
        """The bodies in ``value``; None where it does not fit.

        The name "response" stands once, so it is the one that ``between`` holds: a body never reaches over it without
        being cut into what is no JSON, which is found where bodies are read.
        """
        if not (value.startswith(self.before) and value.endswith(self.behind) and value.count(_RESPONSE) == 1):
            return None
        end = value.find(self.between, len(self.before))
        request = value[len(self.before) : end]
        response = value[end + len(self.between) : len(value) - len(self.behind)]
        return (request, response) if end >= 0 and request and response else None


@dataclass(slots=True)
class _Fitting:
    """Messages that fit two templates: each one's place, what stands in its header's gaps, and its bodies."""

    headers: HeaderTemplate
    values: ValueTemplate
    messages: list[tuple[int, tuple[bytes, ...], tuple[bytes, bytes]]] = field(default_factory=list)


class EventReader:
    """Reads messages and remembers templates; ``long_ways``: how many were read without one. For one thread."""

    def __init__(self) -> None:
        self._headers: dict[tuple[bytes, ...], HeaderTemplate] = {}
        self._values: dict[tuple[bytes, ...], ValueTemplate] = {}
        self._minutes: dict[bytes, int] = {}
        self.long_ways = 0

    def read(self, messages: Sequence[Message]) -> list[Read]:
        """The event in each message; what breaks its contract comes back with its bytes."""
        found: list[Read | None] = [None] * len(messages)
        fitting: dict[tuple[int, int], _Fitting] = {}
        for place, message in enumerate(messages):
            if not self._fits(place, message, fitting):
                found[place] = self._long_way(message)
        for parts in fitting.values():
            self._read_fitting(parts, 0, len(parts.messages), messages, found)
        return found  # type: ignore[return-value] # every place was filled

    # --- by template --------------------------------------------------------------------------------------------
    def _fits(self, place: int, message: Message, fitting: dict[tuple[int, int], _Fitting]) -> bool:
        block, value = message
        for values in self._values.values():
            bodies = values.fill(value)
            if bodies is not None:
                break
        else:
            return False
        for headers in self._headers.values():
            fitted = headers.fit(block)
            if fitted is not None:
                key = (id(headers), id(values))
                parts = fitting.get(key)
                if parts is None:
                    parts = fitting[key] = _Fitting(headers, values)
                parts.messages.append((place, fitted.groups(), bodies))
                return True
        return False

    def _read_fitting(
        self, parts: _Fitting, start: int, end: int, messages: Sequence[Message], found: list[Read | None]
    ) -> None:
        """Read a range of what fits; halves it until what does not fit after all stands alone."""
        try:
            events = self._events(parts, start, end)
        except (NoFitError, ValueError):
            if end - start == 1:
                place = parts.messages[start][0]
                found[place] = self._long_way(messages[place])
                return
            middle = (start + end) // 2
            self._read_fitting(parts, start, middle, messages, found)
            self._read_fitting(parts, middle, end, messages, found)
        else:
            for message, event in zip(parts.messages[start:end], events, strict=True):
                found[message[0]] = event

    def _events(self, parts: _Fitting, start: int, end: int) -> list[InferenceEvent]:
        event, replace = parts.headers.event, msgspec.structs.replace
        request, response = parts.values.request, parts.values.response
        _, groups, bodies = zip(*parts.messages[start:end], strict=True)
        gaps = parts.headers.columns(groups)
        nothing = [None] * (end - start)
        traces = _texts(gaps["traceparent"]) if "traceparent" in gaps else nothing
        tokens_ms = _numbers(gaps["ttft_ms"]) if "ttft_ms" in gaps else [event.ttft_ms] * (end - start)
        columns = (
            _texts(gaps["id"]),
            self._times_ns(gaps["time_ns"]),
            _texts(gaps["request_id"]),
            _numbers(gaps["duration_ms"]),
            _numbers(gaps["ttfb_ms"]),
            tokens_ms,
            traces,
            bodies,
        )
        return [
            replace(
                event,
                id=event_id,
                time_ns=time_ns,
                request_id=request_id,
                duration_ms=duration_ms,
                ttfb_ms=ttfb_ms,
                ttft_ms=ttft_ms,
                traceparent=trace,
                request=replace(request, body=halves[0]),
                response=replace(response, body=halves[1]),
            )
            for event_id, time_ns, request_id, duration_ms, ttfb_ms, ttft_ms, trace, halves in zip(
                *columns, strict=True
            )
        ]

    def _times_ns(self, column: Sequence[bytes]) -> list[int]:
        if any(len(text) != _TIME_BYTES for text in column):
            raise NoFitError
        letters = np.frombuffer(b"".join(column), dtype=np.uint8).reshape(len(column), _TIME_BYTES)
        digits = letters[:, _SECOND_DIGITS].astype(np.int64) - ord("0")
        marks = letters[:, [16, 19, 29]] == np.frombuffer(b":.Z", dtype=np.uint8)
        if digits.min() < 0 or digits.max() > 9 or digits[:, 0].max() > 5 or not marks.all():
            raise NoFitError
        minutes = self._minutes
        starts_ns = [minutes.get(text[:16]) or self._minute_ns(text[:16]) for text in column]
        times_ns: list[int] = (np.array(starts_ns, dtype=np.int64) + digits @ _DIGIT_NS).tolist()
        return times_ns

    def _minute_ns(self, text: bytes) -> int:
        moment = datetime.fromisoformat(text.decode() + ":00+00:00")
        minute_ns = int(moment.timestamp()) * 1_000_000_000
        if not 0 <= minute_ns < _LATEST_NS:
            raise NoFitError
        if len(self._minutes) >= _MINUTES:
            self._minutes.clear()
        self._minutes[text] = minute_ns
        return minute_ns

    # --- the long way -------------------------------------------------------------------------------------------
    def _long_way(self, message: Message) -> Read:
        block, value = message
        self.long_ways += 1
        try:
            headers = read_headers(block)
            event = decode_inference(headers, value)
        except (EventError, RecordError, ValueError, OverflowError) as error:
            return Malformed(MALFORMED, str(error), value)
        # A stream whose messages have nothing in common would otherwise pay for a new template each time.
        if self.long_ways < _EAGER or self.long_ways % _SELDOM == 0:
            self._learn(headers, block, value, event)
        return event

    def _learn(self, headers: Headers, block: bytes, value: bytes, event: InferenceEvent) -> None:
        template = _header_template(headers, block, event)
        if template is not None:
            _keep(self._headers, template.pieces, template)
        halves = _value_template(headers, value, event)
        if halves is not None:
            _keep(self._values, (halves.before, halves.between, halves.behind), halves)


#: Headers that differ between messages of one stream, and the event's fields that they become.
_GAPS = {
    "ce_id": "id",
    "ce_time": "time_ns",
    "ce_requestid": "request_id",
    "ce_durationms": "duration_ms",
    "ce_ttfbms": "ttfb_ms",
    "ce_ttftms": "ttft_ms",
    "ce_traceparent": "traceparent",
}
_REQUIRED = {"id", "time_ns", "request_id", "duration_ms", "ttfb_ms"}


def _keep(templates: dict[tuple[bytes, ...], Any], key: tuple[bytes, ...], template: Any) -> None:
    if key not in templates and len(templates) >= _TEMPLATES:
        del templates[next(iter(templates))]
    templates[key] = template


def _header_template(headers: Headers, block: bytes, event: InferenceEvent) -> HeaderTemplate | None:
    """The template of a block that was read.

    None where a name stands twice or is long, one that every message of ours has is not there, or numbers take more
    bytes than ours.
    """
    if len({name for name, _ in headers}) != len(headers) or len(headers) > 63 or write_headers(headers) != block:
        return None
    pieces: list[bytes] = []
    gaps: list[str] = []
    at = 0
    for place, (name, value) in enumerate(headers):
        if name in _GAPS:
            here = len(write_headers([*headers[:place], (name, b"")])) - 1
            pieces.append(block[at:here])
            gaps.append(_GAPS[name])
            at = here + len(write_headers([("", value)])) - 2
    if not _REQUIRED.issubset(gaps) or any(piece and piece[0] > 31 for piece in pieces[1:]) or block[at:][:1] > b"\x1f":
        return None
    bare = msgspec.structs.replace(event, request=Payload(), response=Payload())
    return HeaderTemplate((*pieces, block[at:]), tuple(gaps), bare)


def _value_template(headers: Headers, value: bytes, event: InferenceEvent) -> ValueTemplate | None:
    """The template of a value that was read; None where its bodies are not JSON within the JSON, or not found."""
    request, response = event.request.body, event.response.body
    start = value.find(b'"body":' + request) + len(b'"body":')
    middle = value.find(b'"body":' + response, start + len(request)) + len(b'"body":')
    if not request or not response or start < len(b'"body":') or middle < start:
        return None
    before, between, behind = value[:start], value[start + len(request) : middle], value[middle + len(response) :]
    if between.count(_RESPONSE) != 1 or (before + behind).count(_RESPONSE):
        return None
    bare = [msgspec.structs.replace(half, body=b"") for half in (event.request, event.response)]
    template = ValueTemplate(before, between, behind, *bare)
    return template if _holds(template, headers, event) else None


def _holds(template: ValueTemplate, headers: Headers, event: InferenceEvent) -> bool:
    """Whether a message made with the template reads as it should."""
    probe = template.before + _PROBES[0] + template.between + _PROBES[1] + template.behind
    try:
        found = decode_inference(headers, probe)
    except (EventError, ValueError):
        return False
    replace = msgspec.structs.replace
    request, response = replace(event.request, body=_PROBES[0]), replace(event.response, body=_PROBES[1])
    return found.request == request and found.response == response


def _texts(column: Sequence[bytes]) -> list[str]:
    if b"" in column or b"\0" in b"".join(column):
        raise NoFitError
    return [text.decode() for text in column]


def _numbers(column: Sequence[bytes]) -> list[float]:
    numbers = list(map(float, column))
    if not all(map(math.isfinite, numbers)):
        raise NoFitError
    return numbers
