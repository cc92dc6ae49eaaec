"""Inference events out of Kafka messages, by what messages have in common.

Messages of one stream differ in a few headers and in two bodies; all else is the same bytes again and again. The first
message is read the long way (``driftline.events.decode_inference``), and what it has in common with others becomes a
*template*: bytes that must be equal, with gaps between them. Where a later message fits, only its gaps are read. Where
none fits, the long way is taken again, so a template can be wrong about nothing: it decides how fast, not what.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from collector.kafka_records import Headers, RecordError, read_headers, write_headers
from driftline.errors import EventError
from driftline.events import InferenceEvent, Payload, decode_inference
from driftline.records import Malformed

MALFORMED = "malformed"

#: Templates in use at once; the one not needed longest gives way.
_TEMPLATES = 64
_MINUTES = 4096
_LATEST_NS = 2**63 - 10**12
#: Messages read the long way make templates at first, and every so often later.
_EAGER, _SELDOM = 512, 16
_RESPONSE = b'"response":'
#: Bodies that stand nowhere else: if they come out of a message made with a template, its gaps are where it says.
_PROBES = (b'{"\\u007d":[1,"}"]}', b"[2]")


class NoFitError(Exception):
    """A gap holds what has to be read the long way."""


@dataclass(frozen=True, slots=True)
class HeaderTemplate:
    """``pieces`` of a header block with a gap between each two; ``gaps``: the event's field in each gap.

    ``event``: one that was read of such a block, without its bodies.
    """

    pieces: tuple[bytes, ...]
    gaps: tuple[str, ...]
    event: InferenceEvent

    def fill(self, block: bytes) -> list[bytes] | None:
        """What stands in the gaps of ``block``; None where it does not fit."""
        at, found = 0, []
        for piece in self.pieces[:-1]:
            if not block.startswith(piece, at):
                return None
            at += len(piece)
            size = block[at]
            at += 1
            if size > 127:
                size = size & 127 | block[at] << 7
                at += 1
            if size & 1 or size > 16_383:  # no value, or a length of three bytes
                return None
            end = at + (size >> 1)
            found.append(block[at:end])
            at = end
        return found if block[at:] == self.pieces[-1] else None


@dataclass(frozen=True, slots=True)
class ValueTemplate:
    """What stands before, between and behind the two bodies, and the halves that they belong to."""

    before: bytes
    between: bytes
    behind: bytes
    request: Payload
    response: Payload

    def fill(self, value: bytes) -> tuple[Payload, Payload] | None:
        """The halves of ``value``; None where it does not fit.

        The name "response" stands once, so it is the one that ``between`` holds: a body never reaches over it without
        being cut into what is no JSON, which is found where bodies are read.
        """
        if not (value.startswith(self.before) and value.endswith(self.behind) and value.count(_RESPONSE) == 1):
            return None
        end = value.find(self.between, len(self.before))
        request = value[len(self.before) : end]
        response = value[end + len(self.between) : len(value) - len(self.behind)]
        if end < 0 or not request or not response:
            return None
        replace = msgspec.structs.replace
        return replace(self.request, body=request), replace(self.response, body=response)


class EventReader:
    """Reads messages and remembers templates; ``long_ways``: how many were read without one. For one thread."""

    def __init__(self) -> None:
        self._headers: dict[tuple[bytes, ...], HeaderTemplate] = {}
        self._values: dict[tuple[bytes, ...], ValueTemplate] = {}
        self._minutes: dict[bytes, int] = {}
        self.long_ways = 0
        self._read: Mapping[str, Callable[[bytes], Any]] = {
            "id": _text,
            "time_ns": self._time_ns,
            "request_id": _text,
            "duration_ms": _number,
            "ttfb_ms": _number,
            "ttft_ms": _number,
            "traceparent": _text,
        }

    def read(self, block: bytes, value: bytes) -> InferenceEvent | Malformed:
        """The event in one message, ``block`` being its headers; what breaks its contract comes back with its bytes."""
        try:
            found = self._by_template(block, value)
            return found if found is not None else self._long_way(block, value)
        except (EventError, RecordError, ValueError, OverflowError) as error:
            return Malformed(MALFORMED, str(error), value)

    # --- by template --------------------------------------------------------------------------------------------
    def _by_template(self, block: bytes, value: bytes) -> InferenceEvent | None:
        halves = self._halves(value)
        if halves is None:
            return None
        for template in self._headers.values():
            try:
                gaps = template.fill(block)
            except IndexError:
                gaps = None
            if gaps is None:
                continue
            try:
                fields = {name: self._read[name](gap) for name, gap in zip(template.gaps, gaps, strict=True)}
            except (NoFitError, ValueError):
                return None
            return msgspec.structs.replace(template.event, request=halves[0], response=halves[1], **fields)
        return None

    def _halves(self, value: bytes) -> tuple[Payload, Payload] | None:
        for template in self._values.values():
            halves = template.fill(value)
            if halves is not None:
                return halves
        return None

    def _time_ns(self, text: bytes) -> int:
        # 2026-11-21T10:00:00.123456789Z, as our sidecar writes it; any other spelling is read the long way.
        digits = text[17:19] + text[20:29]
        if len(text) != 30 or not digits.isdigit() or text[16:20:3] != b":." or text[29] != 90 or digits[0] > 53:
            raise NoFitError
        minute_ns = self._minutes.get(text[:16])
        if minute_ns is None:
            moment = datetime.fromisoformat(text[:16].decode() + ":00+00:00")
            minute_ns = int(moment.timestamp()) * 1_000_000_000
            if not 0 <= minute_ns < _LATEST_NS:
                raise NoFitError
            if len(self._minutes) >= _MINUTES:
                self._minutes.clear()
            self._minutes[text[:16]] = minute_ns
        return minute_ns + int(digits)

    # --- the long way -------------------------------------------------------------------------------------------
    def _long_way(self, block: bytes, value: bytes) -> InferenceEvent:
        headers = read_headers(block)
        event = decode_inference(headers, value)
        self.long_ways += 1
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


def _keep(templates: dict[tuple[bytes, ...], Any], key: tuple[bytes, ...], template: Any) -> None:
    if key not in templates and len(templates) >= _TEMPLATES:
        del templates[next(iter(templates))]
    templates[key] = template


def _header_template(headers: Headers, block: bytes, event: InferenceEvent) -> HeaderTemplate | None:
    """The template of a block that was read; None where a name stands twice or numbers take more bytes than ours."""
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


def _text(gap: bytes) -> str:
    if not gap or b"\0" in gap:
        raise NoFitError
    return gap.decode()


def _number(gap: bytes) -> float:
    number = float(gap)
    if not abs(number) < float("inf"):
        raise NoFitError
    return number
