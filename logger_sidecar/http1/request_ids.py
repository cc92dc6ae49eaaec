"""The id of a request: the end of a head that says it, and what the first bytes of a body say where no header does."""

import re

from driftline import names

#: How far into the body the key may stand: those who write one write it first.
LOOK_BYTES = 128
BEGINNING = slice(LOOK_BYTES)
ID_KEY = b'"id"'
READ_BYTES = LOOK_BYTES + 512
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"|[{}\[\]]')
_VALUE = re.compile(rb'\s*:\s*"([^"\\\x00-\x1f\x7f-\xff]{1,256})"')
#: Protocols whose body has an id of its own at the top level.
PROTOCOLS_WITH_BODY_ID = frozenset({"v2", "v2-binary", "generate"})


def id_end(request_id: str) -> bytes:
    """How a head ends that names a request: the header line that says its id, and the blank line."""
    return f"{names.HEADER_REQUEST_ID}: {request_id}\r\n\r\n".encode("latin-1")


def id_text(request_id: str) -> str:
    """The text of an id that has a character for each byte which a header says of it, as those on the path have.

    >>> id_text("r-7"), id_text("b\u00c3\u00a9b\u00c3\u00a9")
    ('r-7', 'bébé')
    """
    if request_id.isascii():
        return request_id
    try:
        return request_id.encode("latin-1").decode()
    except UnicodeError:
        return request_id


def body_id(body: bytes) -> str:
    """The top-level ``id`` of a JSON object, if its key stands near the beginning; else an empty text.

    >>> body_id(b'{"id": "r-1", "inputs": []}'), body_id(b'{"inputs": [{"id": "no"}]}')
    ('r-1', '')
    """
    if body.find(ID_KEY, 0, LOOK_BYTES) < 0:
        return ""
    head = body[:READ_BYTES]
    depth = 0
    for token in _TOKEN.finditer(head):
        if token[1] is None:
            depth += 1 if token[0] in b"{[" else -1
        elif depth == 1 and token[1] == b"id":
            value = _VALUE.match(head, token.end())
            return value[1].decode("ascii") if value else ""
    return ""
