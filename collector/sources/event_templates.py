"""Inference events out of Kafka messages, by what messages have in common.

Messages of one stream differ in a few headers and in two bodies; all else is the same bytes again and again. The first
message is read by the slow path (``driftline.events.decode_inference``), and what it has in common with others makes a
*template*: bytes that must be equal, with gaps between them. Where a later message fits, only its gaps are read. Where
none fits, the slow path is taken again, so a template can be wrong about nothing: it decides how fast, not what.
All messages of a batch are held against a template at once, and their gaps are read column by column.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.sources.kafka_records import Headers, RawRecords, RecordError, read_headers, write_headers
from collector.sources.record_scanning import RecordScanner
from driftline.errors import EventError
from driftline.event_runs import EventRun
from driftline.events import InferenceEvent, Payload, decode_inference
from driftline.joined_bytes import JoinedBytes, Positions
from driftline.records import Malformed

MALFORMED = "malformed"

Read = InferenceEvent | Malformed


class ReadMessages(NamedTuple):
    """What messages hold: events that are alike, with their places among the messages, and all else by its place."""

    runs: list[tuple[Positions, EventRun]]
    others: dict[int, Read]


#: Templates in use at once; the one not needed longest gives way.
_TEMPLATES = 64
_MINUTES = 4096
_LATEST_NS = 2**63 - 10**12
#: Fewer messages are read by the slow path: it takes no longer.
_FEW = 4
#: Messages read by the slow path make templates at first, and every so often later.
_EAGER, _SELDOM = 512, 16
_RESPONSE = b'"response":'
#: Bodies that stand nowhere else: if they come out of a message made with a template, its gaps are where it says.
_PROBES = (b'{"\\u007d":[1,"}"]}', b"[2]")
#: Longest number that is looked at together with others.
_PLAIN_BYTES = 24
#: 2026-11-21T10:00:00.123456789Z, as our sidecar writes it: its length, and where the digits below the minute are.
_TIME_BYTES, _MINUTE_BYTES = 30, 16
_SECOND_DIGITS = np.array([17, 18, *range(20, 29)])
_DIGIT_NS = 10 ** np.arange(10, -1, -1, dtype=np.int64)


class NoFitError(Exception):
    """A gap holds what has to be read by the slow path."""


class _Messages:
    """Header blocks and values of many records."""

    def __init__(self, chunks: Sequence[RawRecords]) -> None:
        joined = JoinedBytes([chunk.text for chunk in chunks])
        spans = [
            np.concatenate([getattr(chunk, edge) + base for chunk, base in zip(chunks, joined.starts, strict=True)])
            for edge in ("starts", "middles", "ends")
        ]
        self.values = joined.within(spans[0], spans[1])
        self.blocks = joined.within(spans[1], spans[2])

    @cached_property
    def responses(self) -> Positions:
        """Where ``"response":`` stands in the text of both."""
        return np.array(list(_places(_RESPONSE, self.values.text)), np.intp)

    @cached_property
    def first_response(self) -> Positions:
        """Which of ``responses`` is the first in or after each value."""
        return np.searchsorted(self.responses, self.values.starts)

    @cached_property
    def response_count(self) -> Positions:
        """How many of ``responses`` stand within each value."""
        return np.searchsorted(self.responses, self.values.ends) - self.first_response

    def __len__(self) -> int:
        return len(self.values.starts)


class _Fitting(NamedTuple):
    """Messages that fit two templates: their places, and where the gaps and the bodies of each begin and end."""

    places: Positions
    starts: Positions
    ends: Positions
    bodies: Positions

    def only(self, chosen: slice | NDArray[np.bool_]) -> "_Fitting":
        return _Fitting(*(each[chosen] for each in self))


@dataclass(frozen=True, slots=True)
class HeaderTemplate:
    """``pieces`` of a header block with a gap between each two; ``gaps``: the event's field in each gap.

    ``event``: one that was read of such a block, without its bodies. Each gap is the value's length in one byte, then
    the value.
    """

    pieces: tuple[bytes, ...]
    gaps: tuple[str, ...]
    event: InferenceEvent

    def fit(
        self, blocks: JoinedBytes, places: Positions, scanner: RecordScanner | None = None
    ) -> tuple[Positions, Positions, Positions]:
        """Which of the blocks at ``places`` fit, and where their gaps begin and end, shape (blocks, gaps)."""
        if scanner is not None:
            chosen = blocks.take(places)
            mask, begins, ends = scanner.fitting_blocks(chosen.text, chosen.starts, chosen.ends, self.pieces)
            return places[mask], begins, ends
        at = blocks.starts[places]
        found: list[Positions] = []  # as columns
        for piece in self.pieces[:-1]:
            fits = blocks.stands(at, piece)
            lengths = blocks.letters[np.minimum(at + len(piece), len(blocks.text))]
            fits &= (lengths & 0x81) == 0  # Kafka doubles what is not negative, and one byte is below 128
            start = at + len(piece) + 1
            columns = [places, *found, start, start + (lengths >> 1)]
            places, *found = columns if fits.all() else [column[fits] for column in columns]
            at = found[-1]
            if not len(places):
                break
        fits = blocks.stands(at, self.pieces[-1]) & (at + len(self.pieces[-1]) == blocks.ends[places])
        return places[fits], np.column_stack(found[::2])[fits], np.column_stack(found[1::2])[fits]


@dataclass(frozen=True, slots=True)
class ValueTemplate:
    """What stands before, between and behind the two bodies, and the halves that they belong to."""

    before: bytes
    between: bytes
    behind: bytes
    request: Payload
    response: Payload

    def fit(
        self, messages: _Messages, places: Positions, scanner: RecordScanner | None = None
    ) -> tuple[NDArray[np.bool_], Positions]:
        """Which of the values fit, and where the two bodies of each begin and end, shape (values, 4).

        The name "response" stands once, so it is the one that ``between`` holds: a body never reaches over it without
        being cut into what is no JSON, which is found where bodies are read.
        """
        if scanner is not None:
            chosen = messages.values.take(places)
            return scanner.fitting_values(
                chosen.text, chosen.starts, chosen.ends, self.before, self.between, self.behind, _RESPONSE
            )
        values, responses = messages.values, messages.responses
        fits = messages.response_count[places] == 1
        if not fits.any():
            return fits, np.zeros((len(places), 4), np.intp)
        request = values.starts[places] + len(self.before)
        middle = responses[np.where(fits, messages.first_response[places], 0)] - self.between.find(_RESPONSE)
        response = middle + len(self.between)
        end = values.ends[places] - len(self.behind)
        fits &= (request < middle) & (response < end)
        for at, piece in ((request - len(self.before), self.before), (middle, self.between), (end, self.behind)):
            fits &= values.stands(np.where(fits, at, 0), piece)
        return fits, np.column_stack([request, middle, response, end])


class EventReader:
    """Reads messages and remembers templates; ``long_ways``: how many were read without one. For one thread.

    ``scanner``: what the compiled build has for it.
    """

    def __init__(self, scanner: RecordScanner | None = None) -> None:
        self._scanner = scanner
        self._headers: dict[tuple[bytes, ...], HeaderTemplate] = {}
        self._values: dict[tuple[bytes, ...], ValueTemplate] = {}
        self._minutes: dict[bytes, int] = {}
        self.long_ways = 0

    def read(self, chunks: Sequence[RawRecords]) -> ReadMessages:
        """The events of the records; what breaks its contract comes back with its bytes."""
        found = ReadMessages([], {})
        if not chunks:
            return found
        messages = _Messages(chunks)
        left = np.arange(len(messages), dtype=np.intp)
        if len(left) >= _FEW:
            left = self._read_fitting(messages, left, found)
        while len(left):
            known = len(self._headers), len(self._values)
            found.others[int(left[0])] = self._long_way(messages, int(left[0]))
            left = left[1:]
            if len(left) >= _FEW and known != (len(self._headers), len(self._values)):
                left = self._read_fitting(messages, left, found)
        return found

    # --- by template --------------------------------------------------------------------------------------------
    def _read_fitting(self, messages: _Messages, left: Positions, found: ReadMessages) -> Positions:
        """Read what fits the templates, newest first; which messages are left."""
        for headers in reversed(self._headers.values()):
            places, starts, ends = headers.fit(messages.blocks, left, self._scanner)
            if not len(places):
                continue
            read = np.zeros(len(messages), np.bool_)
            for values in reversed(self._values.values()):
                if not len(places):
                    break
                fits, bodies = values.fit(messages, places, self._scanner)
                fitting = _Fitting(places, starts, ends, bodies)
                self._read_alike(_Reading(headers, values, messages), fitting.only(fits), found)
                read[places[fits]] = True
                places, starts, ends, _ = fitting.only(~fits)
            left = left[~read[left]]
            if len(left) < _FEW:
                break
        return left

    def _read_alike(self, reading: "_Reading", fitting: _Fitting, found: ReadMessages) -> None:
        """Read what fits; halves it until what does not fit after all stands alone."""
        count = len(fitting.places)
        if not count:
            return
        try:
            run = self._run(reading, fitting)
        except (NoFitError, ValueError):
            if count == 1:
                place = int(fitting.places[0])
                found.others[place] = self._long_way(reading.messages, place)
                return
            self._read_alike(reading, fitting.only(slice(count // 2)), found)
            self._read_alike(reading, fitting.only(slice(count // 2, None)), found)
        else:
            if count >= _FEW:
                found.runs.append((fitting.places, run))
            else:
                found.others.update({place: run[at] for at, place in enumerate(fitting.places.tolist())})

    def _run(self, reading: "_Reading", fitting: _Fitting) -> EventRun:
        """The events of all messages that fit; raises NoFitError or ValueError where any of them does not after all."""
        gaps = reading.headers.gaps
        messages = reading.messages
        spans = {
            name: messages.blocks.within(fitting.starts[:, place], fitting.ends[:, place])
            for place, name in enumerate(gaps)
        }
        fields: dict[str, Sequence[Any]] = {name: _numbers(spans[name]) for name in _NUMBERS if name in spans}
        if "traceparent" in spans:
            fields["traceparent"] = _texts(spans["traceparent"])
        return EventRun(
            reading.like,
            _texts(spans["id"]),
            self._times_ns(messages.blocks, spans["time_ns"].starts, spans["time_ns"].ends),
            _texts(spans["request_id"]),
            fields,
            messages.values.within(fitting.bodies[:, 0], fitting.bodies[:, 1]),
            messages.values.within(fitting.bodies[:, 2], fitting.bodies[:, 3]),
        )

    def _times_ns(self, blocks: JoinedBytes, starts: Positions, ends: Positions) -> NDArray[np.int64]:
        if (ends - starts != _TIME_BYTES).any():
            raise NoFitError
        letters = blocks.cut(starts, _TIME_BYTES)
        digits = letters[:, _SECOND_DIGITS].astype(np.int64) - ord("0")
        marks = letters[:, [16, 19, 29]] == np.frombuffer(b":.Z", dtype=np.uint8)
        if digits.min() < 0 or digits.max() > 9 or digits[:, 0].max() > 5 or not marks.all():
            raise NoFitError
        # Messages of one minute mostly stand together, so it is read where it changes.
        changes = np.concatenate(([True], (letters[1:, :_MINUTE_BYTES] != letters[:-1, :_MINUTE_BYTES]).any(axis=1)))
        texts = [letters[place, :_MINUTE_BYTES].tobytes() for place in np.flatnonzero(changes).tolist()]
        minutes_ns = np.array([self._minutes.get(text) or self._minute_ns(text) for text in texts], np.int64)
        times_ns: NDArray[np.int64] = minutes_ns[np.cumsum(changes) - 1] + digits @ _DIGIT_NS
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

    # --- the slow path -------------------------------------------------------------------------------------------
    def _long_way(self, messages: _Messages, place: int) -> Read:
        block, value = messages.blocks.piece(place), messages.values.piece(place)
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
_NUMBERS = ("duration_ms", "ttfb_ms", "ttft_ms")
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


class _Reading(NamedTuple):
    """Two templates, and the messages that are held against them."""

    headers: HeaderTemplate
    values: ValueTemplate
    messages: _Messages

    @property
    def like(self) -> InferenceEvent:
        """What the events have in common."""
        return msgspec.structs.replace(self.headers.event, request=self.values.request, response=self.values.response)


def _places(needle: bytes, text: bytes) -> Iterator[int]:
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + len(needle))


def _cut(spans: JoinedBytes) -> list[bytes]:
    text = spans.text
    return [text[start:end] for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)]


def _texts(spans: JoinedBytes) -> list[str]:
    """What stands in each; raises NoFitError where one is empty or holds a zero, UnicodeDecodeError for no text."""
    texts = b"\0".join(_cut(spans)).decode().split("\0")
    if len(texts) != len(spans.starts) or "" in texts:
        raise NoFitError
    return texts


class _Numbers(Sequence[float]):
    """Numbers spelt plainly, read when they are asked for, which is seldom."""

    def __init__(self, spans: JoinedBytes) -> None:
        self._spans = spans

    def __len__(self) -> int:
        return len(self._spans.starts)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [float(each) for each in _cut(self._spans)[place]]
        return float(self._spans.piece(place))


def _numbers(spans: JoinedBytes) -> Sequence[float]:
    """The number in each; raises NoFitError, ValueError where it is none, or not finite."""
    if _are_plain(spans):
        return _Numbers(spans)
    numbers = list(map(float, _cut(spans)))
    if not np.isfinite(np.array(numbers)).all():
        raise NoFitError
    return numbers


def _are_plain(spans: JoinedBytes) -> bool:
    """Whether all are digits with a point among them, as nearly every number is that is neither tiny nor huge."""
    lengths = spans.ends - spans.starts
    longest = int(lengths.max())
    if int(lengths.min()) < 3 or longest > _PLAIN_BYTES:
        return False
    letters = spans.cut(spans.starts, longest)
    digits = letters - np.uint8(ord("0")) < 10  # of unsigned numbers: what is below wraps around
    points = letters == ord(".")
    inside = np.arange(longest) < lengths[:, None]
    last = np.take_along_axis(digits, lengths[:, None] - 1, axis=1)
    one_point = (points & inside).sum(axis=1) == 1
    return bool((digits | points | ~inside).all() and one_point.all() and digits[:, 0].all() and last.all())
