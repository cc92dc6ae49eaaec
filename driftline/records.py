"""What a source of events hands to the collector: a record with its place in the stream."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from driftline.events import InferenceEvent, InferenceMessage, Label
from driftline.halves import Half

#: Why a half that waited is looked at: nobody answered in time, too much waits, or its other half waits as well.
DueReason = Literal["timeout", "full", "met"]


@dataclass(frozen=True, slots=True)
class Malformed:
    """A record that could not be read as an event or label; it goes to the dead letters with its raw bytes.

    ``events``: how many it stands for; more than one where a part of the stream was given up before it was read.
    ``namespace``, ``model``: where that much is known.
    """

    reason: str
    detail: str
    raw: bytes
    events: int = 1
    namespace: str = "unknown"
    model: str = "unknown"


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that is none of ours: well-formed, but neither inference nor label. It is counted and passed over."""

    what: str


@dataclass(frozen=True, slots=True)
class Due:
    """Halves that waited in the store and are to be looked at: those of one pair, by their identities."""

    pair: str
    identities: tuple[str, ...]
    reason: DueReason


@dataclass(frozen=True, slots=True)
class Several:
    """What one record of a stream holds when it holds several things, in order; they are committed together."""

    contents: tuple["One", ...]


#: One thing that a record may hold.
One = InferenceEvent | Label | Half | Malformed | Ignored
#: A message is an inference as it will be sent on, by who asked to have it so.
Content = One | Due | Several | InferenceMessage


class Reach(NamedTuple):
    """How far a partition is stored that others have to read, and where it ends, in the unit of offsets."""

    position: int
    end: int


# A msgspec Struct, not a dataclass: one is made for every event, at a fifth of the cost.
class Record(msgspec.Struct, frozen=True):
    """One record of a stream.

    ``partition`` names an ordered part of a stream (``kafka:TOPIC:0``, ``spool:NAME``); ``offset`` is the record's
    place in it and ``next_offset`` where reading goes on after it. Offsets grow; they need not be consecutive.
    ``lane``: the partition under which it is counted, where that is another one: short partitions, such as files, share
    one, so that a window does not have a state for each. ``part``: which of several things of one record it is.
    """

    partition: str
    offset: int
    next_offset: int
    content: Content
    lane: str = ""
    part: int = 0

    @property
    def place(self) -> str:
        """The partition as dead letters name it: no two things of a stream have the same place and offset."""
        return f"{self.partition}#{self.part}" if self.part else self.partition

    @property
    def counted_in(self) -> str:
        """The partition under which statistics and counters of this record are kept."""
        return self.lane or self.partition
