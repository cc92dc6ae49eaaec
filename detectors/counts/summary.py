"""The state of a window: whole numbers that merge by addition, and the compact bytes they travel and rest as.

A state holds sections, one per layout (of columns or of performance), each a vector of whole numbers plus exact sums.
Addition of whole numbers is associative, commutative and exactly invertible, so any split of the rows over batches,
partitions and replays, in any order, gives the same bytes, and a label taken back leaves no trace.

Exact sums of floating-point numbers: every float64 is a whole multiple of 2**-1126, so a sum of them is a whole number
of that unit, which Python's integers hold without rounding. The usual floating sums depend on the order of addition
and would break both promises.

Counts of two layouts never mix: after a reference is rebuilt, an open window holds two sections side by side.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.errors import PermanentError

_MAGIC = b"DLW1"
_UNIT_EXPONENT = 1126
_UNIT = 1 << _UNIT_EXPONENT
_LOW_BITS = 26
_WIDTHS = ("<i1", "<i2", "<i4", "<i8")
_SECTION = struct.Struct("<8sBII")
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
        parts = [_MAGIC]
        for fingerprint, section in sorted(self.sections.items()):
            if section.values.any() or any(section.sums):
                parts.append(_pack(fingerprint, section))
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "WindowState":
        """Read what :meth:`to_bytes` wrote; raises StateError."""
        if data[: len(_MAGIC)] != _MAGIC:
            raise StateError(f"window state begins with {data[:4]!r}, not {_MAGIC!r}")
        sections: dict[str, Section] = {}
        at = len(_MAGIC)
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
    width = _width(section.values)
    body = section.values.astype(_WIDTHS[width]).tobytes() + b"".join(_pack_sum(total) for total in section.sums)
    packed = zlib.compress(body, _LEVEL)
    head = _SECTION.pack(bytes.fromhex(fingerprint), width | len(section.sums) << 4, len(section.values), len(packed))
    return head + packed


def _unpack(data: bytes, at: int) -> tuple[str, Section, int]:
    fingerprint, flags, size, length = _SECTION.unpack_from(data, at)
    at += _SECTION.size
    if at + length > len(data):
        raise StateError(f"window state ends at byte {len(data)}, before its section does")
    body = zlib.decompress(data[at : at + length])
    dtype: np.dtype[Any] = np.dtype(_WIDTHS[flags & 15])
    values = np.frombuffer(body, dtype=dtype, count=size).astype(np.int64)
    rest, sums = size * dtype.itemsize, []
    for _ in range(flags >> 4):
        (digits,) = struct.unpack_from("<I", body, rest)
        sums.append(int.from_bytes(body[rest + 4 : rest + 4 + digits], "little", signed=True))
        rest += 4 + digits
    return fingerprint.hex(), Section(values, tuple(sums)), at + length


def _pack_sum(total: int) -> bytes:
    digits = total.bit_length() // 8 + 1
    return struct.pack("<I", digits) + total.to_bytes(digits, "little", signed=True)


def _width(values: NDArray[np.int64]) -> int:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    for width, bits in enumerate((7, 15, 31)):
        if -(1 << bits) <= low and high < 1 << bits:
            return width
    return 3
