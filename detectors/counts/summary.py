"""The state of a window: whole numbers that merge by addition, and the compact bytes they travel and rest as.

A state holds sections, one per layout (of columns or of performance), each a vector of whole numbers plus exact sums.
Addition of whole numbers is associative, commutative and exactly invertible, so any split of the rows over batches,
partitions and replays, in any order, gives the same bytes, and a label taken back leaves no trace.

Exact sums of floating-point numbers: every float64 is a whole multiple of 2**-1126, so a sum of them is a whole number
of that unit, which Python's integers hold without rounding. The usual floating sums depend on the order of addition
and would break both promises.

Counts of two layouts never mix: after a reference is rebuilt, an open window holds two sections side by side.

A section of few counts that are not zero is written as those, with their places; any other whole and compressed. Which
of both follows from the counts alone.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.counts.sparse import LARGEST, read_rows, write_rows
from driftline.errors import PermanentError

MAGIC = b"DLW1"
_UNIT_EXPONENT = 1126
_UNIT = 1 << _UNIT_EXPONENT
_LOW_BITS = 26
_WIDTHS = ("<i1", "<i2", "<i4", "<i8")
#: Of each section: fingerprint, form and width and number of sums, length of the vector, bytes that follow.
SECTION = struct.Struct("<8sBII")
#: Set in the form's byte where only what is not zero is written.
SPARSE = 4
#: Beyond so many bytes of counts a section is written whole.
SPARSE_BYTES = 1536
# More than level 1 costs three times the time for a tenth less bytes on counts.
_LEVEL = 1


class StateError(PermanentError):
    """Bytes are not a window state, or sections of one layout have different lengths."""


@dataclass(frozen=True, slots=True)
class Section:
    """Counts on one layout: ``values`` of shape (layout size,), ``sums`` in units of 2**-1126."""

    values: NDArray[np.int64]
    sums: tuple[int, ...] = ()

    def plus(self, other: "Section") -> "Section":
        """The sum of both; raises StateError when their lengths differ."""
        if len(self.values) != len(other.values) or len(self.sums) != len(other.sums):
            raise StateError(f"sections of {len(self.values)} and {len(other.values)} counts cannot be added")
        sums = tuple(mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True))
        return Section(self.values + other.values, sums)


@dataclass(frozen=True, slots=True)
class WindowState:
    """The sections of a window by layout fingerprint (16 hexadecimal digits)."""

    sections: Mapping[str, Section] = field(default_factory=dict)

    def plus(self, fingerprint: str, section: Section) -> "WindowState":
        """The state with ``section`` added to the section of that layout."""
        known = self.sections.get(fingerprint)
        return WindowState({**self.sections, fingerprint: section if known is None else known.plus(section)})

    def section(self, fingerprint: str) -> Section | None:
        """The section of that layout, None when nothing was counted on it."""
        return self.sections.get(fingerprint)

    def to_bytes(self) -> bytes:
        """The state as bytes; equal states give equal bytes, and a section of zeros is as good as none."""
        parts = [MAGIC]
        for fingerprint, section in sorted(self.sections.items()):
            if section.values.any() or any(section.sums):
                parts.append(_pack(fingerprint, section))
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "WindowState":
        """Read what :meth:`to_bytes` wrote; raises StateError."""
        if data[: len(MAGIC)] != MAGIC:
            raise StateError(f"window state begins with {data[:4]!r}, not {MAGIC!r}")
        sections: dict[str, Section] = {}
        at = len(MAGIC)
        try:
            while at < len(data):
                fingerprint, section, at = _unpack(data, at)
                sections[fingerprint] = section
        except (struct.error, zlib.error, ValueError, IndexError) as error:
            raise StateError(f"window state is damaged at byte {at}: {error}") from error
        return cls(sections)


def merge(states: Iterable[WindowState]) -> WindowState:
    """All states added up."""
    total = WindowState()
    for state in states:
        for fingerprint, section in state.sections.items():
            total = total.plus(fingerprint, section)
    return total


def merge_readable(states: Iterable[bytes]) -> WindowState:
    """The sum of those states that can be read; a damaged one was told of where its window was evaluated."""
    readable = []
    for state in states:
        try:
            readable.append(WindowState.from_bytes(state))
        except StateError:
            continue
    return merge(readable)


def exact_sum(values: NDArray[np.float64], weights: NDArray[np.int64]) -> int:
    """The sum of ``values * weights``, exactly, in units of 2**-1126; values must be finite.

    >>> to_float(exact_sum(np.array([1e300, 1.0, -1e300]), np.array([1, 1, 1])))
    1.0
    """
    mantissas, exponents = np.frexp(values)
    digits = (mantissas * 2.0**53).astype(np.int64) * weights
    total = 0
    for exponent in np.unique(exponents):
        chosen = digits[exponents == exponent]
        # Two halves, because the sum of a thousand 53-bit numbers leaves 64 bits.
        high = int((chosen >> _LOW_BITS).sum())
        low = int((chosen & ((1 << _LOW_BITS) - 1)).sum())
        total += ((high << _LOW_BITS) + low) << (int(exponent) - 53 + _UNIT_EXPONENT)
    return total


def to_float(total: int) -> float:
    """An exact sum as the nearest float64; infinite when it is beyond the range."""
    try:
        return total / _UNIT
    except OverflowError:
        return float("inf") if total > 0 else float("-inf")


def _pack(fingerprint: str, section: Section) -> bytes:
    sums = b"".join([_pack_sum(total) for total in section.sums])
    form, size = len(section.sums) << 4, len(section.values)
    counts = _sparse(section.values)
    if counts is not None:
        form, packed = form | SPARSE, sums + counts
    else:
        width = _width(section.values)
        form, packed = form | width, zlib.compress(section.values.astype(_WIDTHS[width]).tobytes() + sums, _LEVEL)
    return SECTION.pack(bytes.fromhex(fingerprint), form, size, len(packed)) + packed


def _sparse(values: NDArray[np.int64]) -> bytes | None:
    """What is not zero; None where that is too much."""
    if len(values) > LARGEST or 3 * np.count_nonzero(values) > SPARSE_BYTES:
        return None
    written = write_rows(values[np.newaxis])[0]
    return written if len(written) <= SPARSE_BYTES else None


def _unpack(data: bytes, at: int) -> tuple[str, Section, int]:
    fingerprint, form, size, length = SECTION.unpack_from(data, at)
    at += SECTION.size
    if at + length > len(data):
        raise StateError(f"window state ends at byte {len(data)}, before its section does")
    body = data[at : at + length]
    if form & SPARSE:
        if size > LARGEST:
            raise ValueError(f"{size} counts")
        sums, rest = _unpack_sums(body, 0, form >> 4)
        values = read_rows([body[rest:]], size)[0]
    else:
        dtype, body = np.dtype(_WIDTHS[form & 15]), zlib.decompress(body)
        values = np.frombuffer(body, dtype=dtype, count=size).astype(np.int64)
        sums, _ = _unpack_sums(body, size * dtype.itemsize, form >> 4)
    return fingerprint.hex(), Section(values, sums), at + length


def _pack_sum(total: int) -> bytes:
    digits = total.bit_length() // 8 + 1
    return struct.pack("<I", digits) + total.to_bytes(digits, "little", signed=True)


def _unpack_sums(body: bytes, at: int, count: int) -> tuple[tuple[int, ...], int]:
    """So many sums, and where they end."""
    sums = []
    for _ in range(count):
        (digits,) = struct.unpack_from("<I", body, at)
        at += 4
        sums.append(int.from_bytes(body[at : at + digits], "little", signed=True))
        at += digits
    return tuple(sums), at


def _width(values: NDArray[np.int64]) -> int:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    for width, bits in enumerate((7, 15, 31)):
        if -(1 << bits) <= low and high < 1 << bits:
            return width
    return 3
