"""Ids of events and requests as keys: 16 bytes for the index whatever the id is, sorted by time where it tells one.

Our own ids are UUIDs of version 7 and are their own keys. Any other id's key is a UUID of version 8 made of its
SHA-256, and the id is kept beside it.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_DAY_MS = 86_400_000
_is_uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_DASHES = [8, 13, 18, 23]
_DIGITS = [place for place in range(36) if place not in _DASHES]
#: The groups of digits between the dashes, where they stand in an id, and one after the other.
_PARTS = {"first": (0, "V8"), "second": (9, "V4"), "third": (14, "V4"), "fourth": (19, "V4"), "fifth": (24, "V12")}
_STARTS, _KINDS = zip(*_PARTS.values(), strict=True)
_SPELT = np.dtype({"names": list(_PARTS), "offsets": list(_STARTS), "formats": list(_KINDS), "itemsize": 36})
_BARE = np.dtype({"names": list(_PARTS), "formats": list(_KINDS)})
_NO_DIGIT = 255
_VALUES = np.full(256, _NO_DIGIT, dtype=np.uint8)
_VALUES[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # any odd number of 64 bits


#: A key as one value of an array: such arrays are copied and picked from ten times as fast as rows of 16 bytes.
KEY_KIND = "V16"


@dataclass(frozen=True)
class KeyColumn:
    """The keys of many ids.

    ``ids`` as they were given; ``raw``: the keys' bytes, shape (ids, 16); ``own``: whether the id is its own key.
    """

    ids: Sequence[str]
    raw: NDArray[np.uint8]
    own: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: NDArray[np.intp]) -> "KeyColumn":
        """The keys at these places."""
        return KeyColumn([self.ids[place] for place in places.tolist()], self.raw[places], self.own[places])

    def surely_differ(self) -> bool:
        """Whether no two are the same; False now and then although they differ."""
        halves = np.ascontiguousarray(self.raw).view(np.uint64)
        mixed = np.sort(halves[:, 0] * _MIX + halves[:, 1])
        return not (mixed[1:] == mixed[:-1]).any()

    @cached_property
    def first_halves(self) -> NDArray[np.uint64]:
        """The first 64 bits of each key as a number: sorted by these, keys are nearly always sorted."""
        return self._numbers[:, 0].astype(np.uint64)

    @cached_property
    def second_halves(self) -> NDArray[np.uint64]:
        """The other 64 bits of each key."""
        return self._numbers[:, 1].astype(np.uint64)

    @property
    def values(self) -> NDArray[np.void]:
        """The keys' bytes, shape (ids,), each one value of 16 bytes."""
        return np.ascontiguousarray(self.raw).view(KEY_KIND).ravel()

    @property
    def _numbers(self) -> NDArray[np.uint64]:
        return np.ascontiguousarray(self.raw).view(">u8")

    @cached_property
    def texts(self) -> Sequence[str]:
        """The keys as :func:`key_of` spells them."""
        if self.own.all():
            return self.ids
        texts = list(self.ids)
        others = np.flatnonzero(~self.own)
        for place, text in zip(others.tolist(), self.texts_of(self.raw[others]), strict=True):
            texts[place] = text
        return texts

    @cached_property
    def days(self) -> NDArray[np.int64]:
        """The day that each key tells, as :func:`day_of` says, -1 where none."""
        return np.where(self.raw[:, 6] >> 4 == 7, self._times_ms // _DAY_MS, -1)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """The time that each key of version 7 tells, seconds since the epoch; without meaning for others."""
        return self._times_ms / 1000.0

    @cached_property
    def _times_ms(self) -> NDArray[np.int64]:
        return (self.first_halves >> np.uint64(16)).astype(np.int64)

    @staticmethod
    def texts_of(raw: NDArray[np.uint8]) -> list[str]:
        """Keys, given as bytes of shape (keys, 16), as :func:`key_of` spells them."""
        digits = raw.tobytes().hex()
        return [_spelt(digits[at : at + 32]) for at in range(0, len(digits), 32)]


def key_of(text: str) -> str:
    """The key of an id.

    >>> key_of("01890a5d-ac96-774b-bcce-b302099a8057")
    '01890a5d-ac96-774b-bcce-b302099a8057'
    >>> key_of("order-1")
    '0bafe221-56d2-898c-843b-86040446d366'
    """
    if _is_uuid(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def keys_of(ids: Sequence[str]) -> KeyColumn:
    """The keys of many ids at once, at a tenth of what :func:`key_of` costs for UUIDs.

    >>> found = keys_of(["01890a5d-ac96-774b-bcce-b302099a8057", "order-1"])
    >>> found.texts[1], found.own.tolist(), found.days.tolist(), found.raw[0, :2].tolist()
    ('0bafe221-56d2-898c-843b-86040446d366', [True, False], [19538, -1], [1, 137])
    """
    if (raw := _all_uuids(ids)) is not None:
        return KeyColumn(ids, raw, np.ones(len(ids), dtype=np.bool_))
    raw = np.empty((len(ids), 16), dtype=np.uint8)
    own = np.zeros(len(ids), dtype=np.bool_)
    candidates, long = _of_a_uuids_length(ids)
    characters = np.frombuffer("".join(candidates).encode(), dtype=np.uint8).reshape(-1, 36)
    digits = _VALUES[characters[:, _DIGITS]]
    spelt = (digits != _NO_DIGIT).all(axis=1) & (characters[:, _DASHES] == ord("-")).all(axis=1)
    own[long] = spelt
    raw[own] = digits[spelt, 0::2] << 4 | digits[spelt, 1::2]
    others = ids if not own.any() else [ids[place] for place in np.flatnonzero(~own).tolist()]
    if others:
        raw[~own] = _digests(others)
    return KeyColumn(ids, raw, own)


def _all_uuids(ids: Sequence[str]) -> NDArray[np.uint8] | None:
    """The keys of ids that all are UUIDs, as nearly always; None where any is not."""
    together = "".join(ids)
    count = len(ids)
    if len(together) != 36 * count or not together.isascii():
        return None
    encoded = together.encode()
    characters = np.frombuffer(encoded, dtype=np.uint8).reshape(count, 36)
    if not all((characters[:, dash] == ord("-")).all() for dash in _DASHES) or [*map(len, ids)].count(36) != count:
        return None
    spelt, bare = np.frombuffer(encoded, dtype=_SPELT), np.empty(count, dtype=_BARE)
    for name in _PARTS:
        bare[name] = spelt[name]
    digits = bare.tobytes().decode()
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return None
    if raw.hex() != digits:  # capitals and spaces are read, too
        return None
    return np.frombuffer(raw, dtype=np.uint8).reshape(count, 16)


def _of_a_uuids_length(ids: Sequence[str]) -> tuple[Sequence[str], NDArray[np.bool_]]:
    """The ids that may be UUIDs, and which they are."""
    lengths = np.fromiter(map(len, ids), np.intp, len(ids))
    long: NDArray[np.bool_] = lengths == 36
    if long.any() and not "".join(ids).isascii():
        long &= np.array([each.isascii() for each in ids], dtype=np.bool_)
    return (ids if long.all() else [ids[place] for place in np.flatnonzero(long).tolist()]), long


def _digests(texts: Sequence[str]) -> NDArray[np.uint8]:
    """The keys of ids that are no UUIDs, shape (texts, 16)."""
    sha256 = hashlib.sha256
    digests = b"".join([sha256(text.encode("utf-8", "replace")).digest() for text in texts])
    raw = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)[:, :16].copy()
    raw[:, [6, 8]] = raw[:, [6, 8]] & 0x0F | 0x80
    return raw


def _spelt(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def day_of(key: str) -> int | None:
    """The day, counted from the epoch in UTC, that a key of version 7 tells; None for any other.

    >>> day_of("01890a5d-ac96-774b-bcce-b302099a8057"), day_of("0bafe221-56d2-898c-843b-86040446d366")
    (19538, None)
    """
    return int(key[:8] + key[9:13], 16) // _DAY_MS if key[14] == "7" else None
