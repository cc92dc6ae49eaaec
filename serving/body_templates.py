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

from driftline.joined_bytes import LONGEST_CUT, JoinedBytes, Positions

#: What an id may be, to be a gap: any text that is spelt as it is.
_PLAIN = np.zeros(256, np.bool_)
_PLAIN[[code for code in range(ord(" "), ord("~") + 1) if chr(code) not in '"\\']] = True
_LONGEST_ID = 64
_BRACKET, _QUOTE = ord("]"), ord('"')
#: Bytes that data may be longer than twice the first one's.
_SPARE = 16
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


class Fit(NamedTuple):
    """Bodies that fit, as places among those tried; where the data of each begin and end, shape (bodies, tensors)."""

    places: Positions
    starts: Positions
    ends: Positions


class Gap(NamedTuple):
    """A gap in a body: an id, or a tensor's data, which end where the first list does."""

    start: int
    end: int
    is_id: bool

    @property
    def room(self) -> int:
        """How many bytes of another body are looked at for this gap's end."""
        return _LONGEST_ID + 1 if self.is_id else 2 * (self.end - self.start) + _SPARE


@dataclass(frozen=True, slots=True)
class BodyTemplate:
    """``pieces`` with one of ``gaps`` between each two. Bodies are held against it piece by piece, all at once."""

    pieces: tuple[bytes, ...]
    gaps: tuple[Gap, ...]

    def fit(self, bodies: JoinedBytes, places: Positions) -> Fit:
        """Which of the bodies at ``places`` fit; one whose short data are far longer than the first one's does not."""
        at, last = bodies.starts[places], bodies.ends[places]
        starts, ends = [], []
        fits = bodies.stands(at, self.pieces[0])
        at = at + len(self.pieces[0])
        for gap, piece in zip(self.gaps, self.pieces[1:], strict=True):
            found = _end(bodies, np.minimum(at, last), gap)
            fits &= found >= 0
            end = np.minimum(at + np.maximum(found, 0), last)
            if not gap.is_id:
                starts.append(at)
                ends.append(end)
            fits &= bodies.stands(end, piece)
            at = end + len(piece)
        fits &= at == last
        return Fit(np.flatnonzero(fits), np.column_stack(starts)[fits], np.column_stack(ends)[fits])


def _end(bodies: JoinedBytes, at: Positions, gap: Gap) -> Positions:
    """How far from each position on the gap ends, -1 where it does not within its room, or is no id of plain text."""
    if gap.room > LONGEST_CUT:  # too much to be looked at side by side
        text = bodies.text
        return np.array([text.find(b"]", start) for start in at.tolist()], np.intp) - at
    letters = bodies.cut(at, gap.room)
    marks = letters == (_QUOTE if gap.is_id else _BRACKET)
    found = marks.argmax(axis=1)
    ends = marks[np.arange(len(at)), found]
    if gap.is_id:
        ends = ends & (_PLAIN[letters] | (np.arange(gap.room) >= found[:, None])).all(axis=1)
    return np.where(ends, found, -1)


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
    return BodyTemplate(tuple(pieces), tuple(gaps))


def _gaps(body: bytes, member: bytes) -> list[Gap] | None:
    """Where the data of tensors and the id of a body are; None for what has too many parts to be worth it.

    ``open_``: for each bracket that is open the name read last within it, None in a list.
    """
    found: list[Gap] = []
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
                found.append(Gap(at, end, is_id=False))
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
                found.append(Gap(token.start(1) + 1, at - 1, is_id=True))
            last = text
        is_value = mark == b":"
    return None


def _holds(gap: bytes, data: Sequence[Any] | None) -> bool:
    try:
        return data is not None and _values(b"[" + gap + b"]") == data
    except NOT_VALUES:
        return False
