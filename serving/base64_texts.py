"""Bytes that stand in JSON as base64."""

import base64
import re

_BLANKS = re.compile(r"[ \t\r\n]+")


def bytes_of(text: str) -> bytes:
    r"""The bytes of a text in base64, which may be wrapped into lines and stand in a ``data:`` URL. Raises ValueError.

    >>> bytes_of("AQ==") == bytes_of("A\nQ==\n") == bytes_of("data:image/png;base64,AQ==") == b"\x01"
    True
    """
    packed = text
    if text.startswith("data:"):
        _, comma, packed = text.partition(",")
        if not comma:
            raise ValueError("a data: URL has no comma before its data")
    return base64.b64decode(_BLANKS.sub("", packed), validate=True)
