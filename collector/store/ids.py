"""Ids of events and requests as keys: 16 bytes for the index whatever the id is, sorted by time where it tells one.

Our own ids are UUIDs of version 7 and are their own keys. Any other id's key is a UUID of version 8 made of its
SHA-256, and the id is kept beside it.
"""

import hashlib
import re

_DAY_MS = 86_400_000
_is_uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


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


def beside_key(text: str, key: str) -> str | None:
    """What has to be kept of an id beside its key."""
    return None if text == key else text


def day_of(key: str) -> int | None:
    """The day, counted from the epoch in UTC, that a key of version 7 tells; None for any other.

    >>> day_of("01890a5d-ac96-774b-bcce-b302099a8057"), day_of("0bafe221-56d2-898c-843b-86040446d366")
    (19538, None)
    """
    return int(key[:8] + key[9:13], 16) // _DAY_MS if key[14] == "7" else None
