"""JSON bodies of one kind, read by what they have in common: all of them at once.

The bodies of one client differ in the values of their tensors and in their id; all else is the same bytes again and
again. A *template* is learnt from one body: the pieces that must be equal, with a gap where each tensor's data are,
and one where the id is. A body fits where every piece stands where it should; what is in the gaps is then read as JSON,
each gap on its own, so that a body that fits means what the first one meant, with other values.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from serving.body_scanners import IDS, NUMBERS, TEXTS, MakeScanner, Scanner

#: Data of a flat list; and an id of plain text.
_DATA = rb"([^\]]*+)"
_ID = rb"[ !#-\[^-~\]]{0,64}+"
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


@dataclass(frozen=True, slots=True)
class BodyTemplate:
    """``pieces`` with a gap between each two; ``ids``: which gaps hold an id, all others hold a tensor's data.

    ``data``: that of the body which it was learnt from. ``fit``: what a body that fits, as a part of a text, has in its
    gaps with data, as a match's groups.
    """

    pieces: tuple[bytes, ...]
    ids: frozenset[int]
    data: Sequence[Sequence[Any]]
    fit: Callable[[bytes, int, int], "re.Match[bytes] | None"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Possessive: data end where the first bracket closes, an id where the first quote is, or nothing fits.
        gaps = [_ID if number in self.ids else _DATA for number in range(len(self.pieces) - 1)]
        pattern = re.escape(self.pieces[0])
        for gap, piece in zip(gaps, self.pieces[1:], strict=True):
            pattern += gap + re.escape(piece)
        object.__setattr__(self, "fit", re.compile(pattern).fullmatch)

    def scanner(self, make: MakeScanner) -> Scanner | None:
        """What reads bodies that fit in one pass each; None where a gap holds neither numbers nor texts alone."""
        data = iter(self.data)
        gaps = []
        for number in range(len(self.pieces) - 1):
            values = () if number in self.ids else next(data)
            kind = IDS if number in self.ids else _kind_of(values)
            if kind is None:
                return None
            gaps.append((kind, len(values)))
        return make(self.pieces, gaps)


def values_of(gaps: Sequence[bytes], count: int) -> list[Any] | None:
    """The values in one gap of many bodies, one body's after the other's; None unless each has ``count`` of them.

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
    kept: list[Sequence[Any]] = []
    for gap in gaps:
        pieces.append(body[at : gap.start])
        at = gap.end
        if gap.is_id:
            continue
        values = next(lists)
        if values is None or not _holds(body[gap.start : gap.end], values):
            return None
        kept.append(values)
    pieces.append(body[at:])
    if b"\\" in b"".join(pieces):  # names may be spelt in many ways
        return None
    return BodyTemplate(tuple(pieces), frozenset(number for number, gap in enumerate(gaps) if gap.is_id), kept)


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


def _holds(gap: bytes, data: Sequence[Any]) -> bool:
    try:
        return _values(b"[" + gap + b"]") == data
    except NOT_VALUES:
        return False


def _kind_of(values: Sequence[Any]) -> int | None:
    types = set(map(type, values))
    if types <= {float, int, type(None)}:
        return NUMBERS
    return TEXTS if types <= {str, type(None)} else None
