"""Many pieces of bytes one after the other, to be looked at all at once.

Like ``driftline.columns`` it needs NumPy; the sidecar does not import it.

>>> pieces = JoinedBytes([b"id=7;", b"id=12;", b"no"])
>>> pieces.stands(pieces.starts, b"id=").tolist()
[True, True, False]
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Positions: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]

#: Zeros behind the last piece, so that whoever looks a little further finds nothing.
_BEHIND = bytes(64)


class JoinedBytes:
    """``text``: all pieces; ``letters``: the same as numbers, and zeros behind them; ``starts``, ``ends``: of each."""

    __slots__ = ("ends", "letters", "starts", "text")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.text = b"".join([*pieces, _BEHIND])
        self.letters = np.frombuffer(self.text, np.uint8)
        lengths = np.fromiter(map(len, pieces), np.intp, len(pieces))
        self.ends: Positions = np.cumsum(lengths)
        self.starts: Positions = self.ends - lengths

    def within(self, starts: Positions, ends: Positions) -> "JoinedBytes":
        """Other pieces of the same text; nothing is copied."""
        other = object.__new__(JoinedBytes)
        other.text, other.letters, other.starts, other.ends = self.text, self.letters, starts, ends
        return other

    def take(self, chosen: Positions) -> "JoinedBytes":
        """The pieces at these places."""
        return self.within(self.starts[chosen], self.ends[chosen])

    def piece(self, place: int) -> bytes:
        """One of the pieces."""
        return self.text[self.starts[place] : self.ends[place]]

    def stands(self, at: Positions, piece: bytes) -> Mask:
        """Whether ``piece`` stands at each position; never where a position is past the end."""
        last = len(self.letters) - len(piece)
        if last < 0:
            return np.zeros(len(at), np.bool_)
        is_inside = at <= last
        found = self.cut(at if bool(is_inside.all()) else np.minimum(at, last), len(piece))
        if found.tobytes() == piece * len(at):
            return is_inside
        same: Mask = (found == np.frombuffer(piece, np.uint8)).all(axis=1)
        return same & is_inside

    def cut(self, at: Positions, length: int) -> NDArray[np.uint8]:
        """So many bytes from each position on, shape (positions, length); none may end past the zeros."""
        # One copy of so many bytes per position: as an index of bytes it would be an index per byte.
        windows = np.ndarray((len(self.letters) - length + 1,), np.dtype((np.void, length)), self.letters, strides=(1,))
        return windows[at].view(np.uint8).reshape(len(at), length)
