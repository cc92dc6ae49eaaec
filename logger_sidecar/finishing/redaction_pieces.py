r"""What patterns find across the borders of a text that came in pieces: token by token, in the messages of a stream.

Where the protocol is known the pieces were joined before (``stream_folding``). Elsewhere texts that stand at one place
in documents that came one after another are looked at as one text; what is found goes from every piece that holds some
of it.

>>> from logger_sidecar.finishing.redaction_patterns import compile_pattern
>>> from logger_sidecar.finishing.redaction_values import Replacement
>>> said = [{"token": "mail ann"}, {"token": ".b@exam"}, {"token": "ple.com now"}]
>>> scrub_pieces(said, [(compile_pattern("@email"), Replacement(None))]), said
(True, [{'token': 'mail [redacted]'}, {'token': ''}, {'token': ' now'}])
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from logger_sidecar.finishing.redaction_patterns import TextPattern
from logger_sidecar.finishing.redaction_values import Replacement

Patterns = Sequence[tuple[TextPattern, Replacement]]
_Span = tuple[int, int]


def scrub_pieces(parts: list[Any], patterns: Patterns) -> bool:
    """Take what crosses a border out of texts and documents that came one after another; whether there was any.

    Changes them in place. What stands within one piece is left to who looks at each.
    """
    found: dict[int, list[tuple[Any, Any]]] = {}
    places: dict[tuple[int, Any], int] = {}
    for index in range(len(parts)):
        for place, holder, key in _texts(parts, index, places):
            found.setdefault(place, []).append((holder, key))
    changes = [_scrub(texts, patterns) for texts in found.values() if len(texts) > 1]
    return any(changes)


def _texts(parts: list[Any], index: int, places: dict[tuple[int, Any], int]) -> Iterator[tuple[int, Any, Any]]:
    """Each text in a part, with the number of its place, which is the same in every part; ``places`` numbers them.

    Whole paths in place of numbers would be many times as large as a document that is deep.
    """
    left: list[tuple[int, Any, Any]] = [(0, parts, index)]
    while left:
        place, holder, key = left.pop()
        value = holder[key]
        if isinstance(value, str | bytes):
            yield place, holder, key
        if not isinstance(value, dict | list):
            continue
        inners = value if isinstance(value, dict) else range(len(value))
        left.extend(
            (places.setdefault((place, inner), len(places) + 1), value, inner)
            for inner in inners
            if isinstance(value[inner], str | bytes | dict | list)
        )


def _scrub(places: list[tuple[Any, Any]], patterns: Patterns) -> bool:
    pieces = [_bytes_of(holder[key]) for holder, key in places]
    if all(piece == pieces[0] for piece in pieces):
        return False  # said again, not in pieces
    is_changed = False
    for pattern, replacement in patterns:
        whole = b"".join(pieces)
        ends = list(accumulate(map(len, pieces)))
        for start, end in reversed(_crossing(pattern, whole, pieces, ends)):
            _cut(pieces, ends, (start, end), replacement.match(whole[start:end]))
            is_changed = True
    if is_changed:
        for (holder, key), piece in zip(places, pieces, strict=True):
            is_text = isinstance(holder[key], str)
            holder[key] = piece.decode("utf-8", "surrogatepass") if is_text else piece
    return is_changed


def _crossing(pattern: TextPattern, whole: bytes, pieces: list[bytes], ends: list[int]) -> list[_Span]:
    """What is found across borders, together with what it touches of what is found within a piece."""
    crossing = [
        (start, end) for start, end in pattern.spans(whole) if bisect_right(ends, start) != bisect_left(ends, end)
    ]
    if not crossing:
        return []
    within = [
        (end - len(piece) + first, end - len(piece) + last)
        for piece, end in zip(pieces, ends, strict=True)
        for first, last in pattern.spans(piece)
    ]
    within_starts, within_ends = [start for start, _ in within], [end for _, end in within]
    spans: list[_Span] = []
    for start, end in crossing:
        touched = within[bisect_right(within_ends, start) : bisect_left(within_starts, end)]
        if not _covers(touched, start, end):
            edges = [(start, end), *touched]
            spans.append((min(first for first, _ in edges), max(last for _, last in edges)))
    return _merged(spans)


def _covers(spans: Sequence[_Span], start: int, end: int) -> bool:
    """Whether all of it goes with what is found within the pieces alone."""
    for first, last in spans:
        if first > start:
            return False
        start = max(start, last)
    return start >= end


def _merged(spans: list[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _cut(pieces: list[bytes], ends: list[int], span: _Span, replacement: bytes) -> None:
    """Put it where the span begins; of the following pieces goes what is in it. Spans are cut from the last one on."""
    first, last = bisect_right(ends, span[0]), bisect_left(ends, span[1])
    pieces[last] = pieces[last][span[1] - ends[last - 1] :]
    for place in range(first + 1, last):
        pieces[place] = b""
    pieces[first] = pieces[first][: span[0] - (ends[first - 1] if first else 0)] + replacement


def _bytes_of(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
