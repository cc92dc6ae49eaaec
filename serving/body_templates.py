"""JSON bodies of one kind, read by what they have in common: all of them at once.

The bodies of one client differ in the values of their tensors and in their id; all else is the same bytes again and
again. A *template* is learnt from one body: the pieces that must be equal, with a gap where each tensor's data are,
and one where the id is. A body fits where every piece stands where it should; what is in the gaps is then read as JSON,
each gap on its own, so that a body that fits means what the first one meant, with other values.
"""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np

from driftline.joined_bytes import JoinedBytes, Mask, Positions

_LIST_END, _QUOTE, _BACKSLASH = ord("]"), ord('"'), ord("\\")
#: An id ends within so many bytes, or the body is read the long way.
_ID_BYTES = 64
#: Tokens of a body that may become a template.
_MAX_TOKENS = 4096
#: JSON's tokens: a text, a bracket, colon or comma, and anything else.
_token = re.compile(rb'[ \t\r\n]*(?:("(?:[^"\\]|\\.)*")|([\[\]{}:,])|([^ \t\r\n\[\]{},:"]+))', re.DOTALL).match
_commas = operator.methodcaller("count", b",")
_values = msgspec.json.Decoder(list[float | int | str | bool | None]).decode
#: Between values of different bodies: no text of JSON reaches over a line's end, so each gap is read on its own.
_BETWEEN = b",\n"
#: What reading raises for what is no flat list of JSON.
NOT_VALUES = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Fitting(NamedTuple):
    """Bodies one behind the other, which of them fit, and where the gaps with data of each begin and end.

    ``starts`` and ``ends`` have the shape (bodies, gaps).
    """

    text: bytes
    fits: Mask
    starts: Positions
    ends: Positions

    def gaps(self, chosen: Mask) -> list[list[bytes]]:
        """What each gap holds in all of the chosen bodies, gap by gap."""
        starts, ends = self.starts[chosen].ravel().tolist(), self.ends[chosen].ravel().tolist()
        text = self.text
        # Body by body, because memory is read quickest from one end to the other.
        cut = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        width = self.starts.shape[1]
        return [cut[place::width] for place in range(width)]


@dataclass(frozen=True, slots=True)
class BodyTemplate:
    """``pieces`` with a gap between each two; ``ids``: which gaps hold an id, all others hold a tensor's data."""

    pieces: tuple[bytes, ...]
    ids: frozenset[int]

    def fit(self, bodies: Sequence[bytes]) -> Fitting:
        """Which of the bodies fit, and where their gaps with data are."""
        joined = JoinedBytes(bodies)
        text, starts, ends = joined.text, joined.starts, joined.ends
        closing = np.flatnonzero(joined.letters == _LIST_END)
        first = np.searchsorted(closing, starts)
        fits = np.searchsorted(closing, ends) - first == sum(piece.count(b"]") for piece in self.pieces)
        gap_starts, gap_ends = [], []
        at, passed = starts, 0
        for number, piece in enumerate(self.pieces):
            fits &= joined.stands(at, piece)
            at = at + len(piece)
            passed += piece.count(b"]")
            if number == len(self.pieces) - 1:
                break
            if number in self.ids:
                end, is_id = _id_ends(joined, np.minimum(at, len(text)))
                fits &= is_id
            else:
                end = closing[np.where(fits, first + passed, 0)] if len(closing) else at
                fits &= end >= at
                gap_starts.append(at)
                gap_ends.append(end)
            at = np.where(fits, end, 0)
        fits &= at == ends
        return Fitting(text, fits, np.column_stack(gap_starts), np.column_stack(gap_ends))


def values_of(gaps: Sequence[bytes], count: int) -> list[Any] | None:
    """The values in one gap of many bodies, one body's behind the other's; None unless each has ``count`` of them.

    Raises one of NOT_VALUES where a gap is no list of JSON.
    """
    # A gap without a value is no JSON beside its comma, and one of so many commas has one more value at the most.
    if count > 1 and max(map(_commas, gaps)) >= count:
        return None
    values = _values(b"[" + _BETWEEN.join(gaps) + b"]")
    return values if len(values) == len(gaps) * count else None


def template_of(body: bytes, member: bytes, data: Sequence[Sequence[Any] | None]) -> BodyTemplate | None:
    """The template of a body that was read; ``data``: of its tensors, which are in the list ``member``.

    None where they are not flat lists, one for each tensor, or where anything is spelt in a way that might be mistaken.
    """
    gaps = _gaps(body, member)
    if not data or gaps is None or len([gap for gap in gaps if not gap.is_id]) != len(data):
        return None
    lists = iter(data)
    pieces, at = [], 0
    for gap in gaps:
        pieces.append(body[at : gap.start])
        at = gap.end
        if not gap.is_id and not _holds(body[gap.start : gap.end], next(lists)):
            return None
    pieces.append(body[at:])
    if b"\\" in b"".join(pieces):  # names may be spelt in many ways
        return None
    return BodyTemplate(tuple(pieces), frozenset(number for number, gap in enumerate(gaps) if gap.is_id))


class _Gap(NamedTuple):
    start: int
    end: int
    is_id: bool


def _gaps(body: bytes, member: bytes) -> list[_Gap] | None:
    """Where the data of tensors and the id of a body are; None for what has too many parts to be worth it.

    ``open_``: for each bracket that is open the name read last within it, None in a list.
    """
    found: list[_Gap] = []
    open_: list[bytes | None] = []
    data_path = [b'"%b"' % member, None, b'"data"']
    last = b""
    is_value = False
    at = 0
    for _ in range(_MAX_TOKENS):
        token = _token(body, at)
        if token is None:
            return found
        at = token.end()
        text, mark = token.group(1), token.group(2)
        if mark in (b"{", b"["):
            if mark == b"[" and open_ == data_path:
                end = body.find(b"]", at)
                found.append(_Gap(at, end, is_id=False))
                at = end
            open_.append(None)
        elif mark in (b"}", b"]"):
            if not open_:
                return None
            open_.pop()
        elif mark == b":" and open_:
            open_[-1] = last
        elif text is not None:
            if is_value and open_ == [b'"id"']:
                found.append(_Gap(token.start(1) + 1, at - 1, is_id=True))
            last = text
        is_value = mark == b":"
    return None


def _holds(gap: bytes, data: Sequence[Any] | None) -> bool:
    try:
        return data is not None and _values(b"[" + gap + b"]") == data
    except NOT_VALUES:
        return False


def _id_ends(joined: JoinedBytes, at: Positions) -> tuple[Positions, Mask]:
    """Where the plain text that begins at each position ends, and whether it is one."""
    letters = joined.cut(at, _ID_BYTES)
    stops = (letters == _QUOTE) | (letters < ord(" ")) | (letters > ord("~")) | (letters == _BACKSLASH)
    length = stops.argmax(axis=1)
    return at + length, letters[np.arange(len(at)), length] == _QUOTE
