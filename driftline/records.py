"""What a source of events hands to the collector: a record with its place in the stream."""

from dataclasses import dataclass

from driftline.events import InferenceEvent, Label


@dataclass(frozen=True, slots=True)
class Malformed:
    """A record that could not be read as an event or label; it goes to the dead letters with its raw bytes.

    ``events``: how many it stands for; more than one where a part of the stream was given up before it was read.
    """

    reason: str
    detail: str
    raw: bytes
    events: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a stream.

    ``partition`` names an ordered part of a stream (``kafka:TOPIC:0``, ``spool:NAME``); ``offset`` is the record's
    place in it and ``next_offset`` where reading goes on after it. Offsets grow; they need not be consecutive.
    """

    partition: str
    offset: int
    next_offset: int
    content: InferenceEvent | Label | Malformed
