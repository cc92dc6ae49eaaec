"""What stands in place of a redacted value.

``redact``: the text "[redacted]" for texts and objects, null for numbers and truth values. ``hash``: an HMAC-SHA-256
under the deployment's key, cut to 128 bits, so that equal values stay joinable without being known. The number 5 and
the text "5" hash alike, because one system writes an id so and the next otherwise.

>>> Replacement(None).value(["Ann", 42, None, True])
['[redacted]', None, None, None]
>>> hashed = Replacement(b"0123456789abcdef")
>>> hashed.value(5) == hashed.value("5") == hashed.value(5.0)
True
"""

import hmac
import json
from array import array
from dataclasses import dataclass
from typing import Any

REDACTED = "[redacted]"
_HASH_PREFIX = "hmac:"
_HASH_HEX_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Replacement:
    """One way to replace. ``key``: of the hash; None: nothing of the value is left."""

    key: bytes | None

    def value(self, value: Any) -> Any:
        """In place of a value of a document. Lists keep their length, and null stays null; objects go as a whole."""
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, array):
            return self._numbers(value)
        if value is None:
            return None
        if self.key is not None:
            return self.text(_plain(value))
        return None if isinstance(value, bool | int | float) else REDACTED

    def text(self, text: bytes) -> str:
        """In place of a text, as UTF-8."""
        if self.key is None:
            return REDACTED
        return _HASH_PREFIX + hmac.digest(self.key, text, "sha256").hex()[:_HASH_HEX_DIGITS]

    def match(self, text: bytes) -> bytes:
        """In place of what a pattern found in a text."""
        return self.text(text).encode()

    def _numbers(self, numbers: "array[Any]") -> Any:
        if self.key is not None:
            return [self.value(number) for number in numbers]
        return array(numbers.typecode, bytes(len(numbers) * numbers.itemsize))


def _plain(value: Any) -> bytes:
    """A value as the text whose hash it gets."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text.encode("utf-8", "surrogatepass")
