"""Records out of Kafka's batches without an object per header: what kafka-python does record by record, in one pass.

kafka-python fetches, checks and uncompresses; only the loop over a batch's records is ours. It costs a tenth, because
a record's headers stay one piece of bytes until somebody needs them (``event_templates`` rarely does).
Format: https://kafka.apache.org/documentation/#recordbatch
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.sources.record_scanning import RecordScanner
from driftline.joined_bytes import Positions

Headers = list[tuple[str, bytes]]

#: Bytes of the longest number, a time of 64 bits; zeros behind a batch, so that a number that runs on is seen to end.
_LONGEST = 10
_BEHIND = bytes(_LONGEST)


@dataclass(frozen=True, slots=True)
class RawRecords:
    """Records of a partition one after another.

    ``text`` holds them all. In it are, from ``starts`` on, each one's value, up to ``middles``, and its headers as they
    are in a batch, count first, up to ``ends``.
    """

    text: bytes
    offsets: NDArray[np.int64]
    starts: Positions
    middles: Positions
    ends: Positions

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, chosen: slice) -> "RawRecords":
        spans = (self.starts[chosen], self.middles[chosen], self.ends[chosen])
        return RawRecords(self.text, self.offsets[chosen], *spans)

    @property
    def offset(self) -> int:
        """That of the first."""
        return int(self.offsets[0])

    @property
    def next_offset(self) -> int:
        """Where reading goes on."""
        return int(self.offsets[-1]) + 1

    def messages(self) -> list[tuple[bytes, bytes]]:
        """The headers, as they are in a batch, and the value of each."""
        spans = zip(self.starts.tolist(), self.middles.tolist(), self.ends.tolist(), strict=True)
        return [(self.text[middle:end], self.text[start:middle]) for start, middle, end in spans]

    @classmethod
    def of(cls, messages: Sequence[tuple[bytes, bytes]], offsets: Sequence[int]) -> "RawRecords":
        """Records given as headers, in that form, and value."""
        pieces = [value + block for block, value in messages]
        ends = np.cumsum(np.array([len(piece) for piece in pieces], np.intp))
        starts = ends - np.array([len(piece) for piece in pieces], np.intp)
        values = np.array([len(value) for _, value in messages], np.intp)
        return cls(b"".join(pieces), np.array(offsets, np.int64), starts, starts + values, ends)


class RecordError(ValueError):
    """Bytes are not records, or not headers, of Kafka's second format."""


def records(
    batch: bytes | bytearray, at: int, count: int, base_offset: int, scanner: RecordScanner | None = None
) -> RawRecords:
    """The ``count`` records of an uncompressed batch, from position ``at`` on; raises RecordError.

    Without ``scanner`` only the lengths of the records are read one after another.
    """
    size = len(batch)
    text = b"".join([batch, _BEHIND])
    spans = None if scanner is None else scanner.record_spans(text, size, at, count)
    if spans is not None:
        return RawRecords(text, base_offset + spans[0], spans[1], spans[2], spans[3])
    starts, ends = _spans(text, size, at, count)
    letters = np.frombuffer(text, np.uint8)
    _, at_offset = _varints(letters, starts + 1)  # past attributes and time
    deltas, at_key = _varints(letters, at_offset)
    key_lengths, after = _varints(letters, at_key)
    value_lengths, begin = _varints(letters, after + np.clip(key_lengths, 0, size))
    middles = begin + np.clip(value_lengths, 0, size)
    wrong = np.flatnonzero(middles >= ends)
    if len(wrong):
        place = wrong[0]
        raise RecordError(f"a record ends at {ends[place]}, its value at {middles[place]} of {size}")
    return RawRecords(text, base_offset + deltas, begin, middles, ends)


def _spans(text: bytes, size: int, at: int, count: int) -> tuple[Positions, Positions]:
    """Where each record begins, behind its length, and ends."""
    starts: list[int] = []
    ends: list[int] = []
    try:
        for _ in range(count):
            length, at = _varint(text, at)
            starts.append(at)
            at += length
            ends.append(at)
            if not starts[-1] < at <= size:
                raise RecordError(f"a record of {length} bytes ends at {at} of {size}")
    except IndexError as error:
        raise RecordError(f"the batch ends at {size} inside a record") from error
    return np.array(starts, np.intp), np.array(ends, np.intp)


def _varints(letters: NDArray[np.uint8], at: Positions) -> tuple[NDArray[np.int64], Positions]:
    """The number at each position, and where each ends; as :func:`_varint`."""
    numbers = np.zeros(len(at), np.int64)
    going = np.ones(len(at), np.bool_)
    last = len(letters) - 1
    for place in range(_LONGEST):
        bytes_here = letters[np.minimum(at, last)].astype(np.int64)
        numbers |= np.where(going, (bytes_here & 127) << (7 * place), 0)
        at = at + going
        going = going & (bytes_here > 127)
        if not going.any():
            return (numbers >> 1) ^ -(numbers & 1), at
    raise RecordError("a number of a record takes more than 64 bits")


def read_headers(block: bytes) -> Headers:
    """A record's headers; one without a value has the empty value. Raises RecordError, UnicodeDecodeError."""
    found: Headers = []
    try:
        count, at = _varint(block, 0)
        for _ in range(count):
            length, at = _varint(block, at)
            name, at = block[at : at + length].decode(), at + length
            length, at = _varint(block, at)
            length = max(0, length)
            found.append((name, block[at : at + length]))
            at += length
    except IndexError as error:
        raise RecordError("headers end inside a header") from error
    if at != len(block):
        raise RecordError(f"headers end at {at} of {len(block)} bytes")
    return found


def write_headers(headers: Headers) -> bytes:
    """What :func:`read_headers` reads."""
    parts = [_encoded(len(headers))]
    for name, value in headers:
        spelt = name.encode()
        parts += [_encoded(len(spelt)), spelt, _encoded(len(value)), value]
    return b"".join(parts)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number in zigzag and sevens of bits, and where the next begins."""
    number = data[at]
    if number < 128:
        return (number >> 1) ^ -(number & 1), at + 1
    byte = data[at + 1]
    number = number & 127 | (byte & 127) << 7
    at += 2
    shift = 14
    while byte > 127:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
    return (number >> 1) ^ -(number & 1), at


def _encoded(number: int) -> bytes:
    number = number << 1 if number >= 0 else (~number << 1) | 1
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)
