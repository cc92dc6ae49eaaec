"""Answers that the sidecar gives itself, where no model server can."""

import json
from http import HTTPStatus

from logger_sidecar.http1.heads import Head

#: How such an answer is described in its event.
ERROR_HEAD = Head(b"")
ERROR_HEAD.content_type = "application/json"


def error_body(detail: str) -> bytes:
    """What went wrong, for the caller."""
    return json.dumps({"error": f"driftline sidecar: {detail}"}).encode()


def error_head(status: int, body: bytes, *, id_line: bytes, closes: bool) -> bytes:
    """The head of an error's answer, blank line included. ``id_line``: the request id's header line, or nothing."""
    closing = b"connection: close\r\n" if closes else b""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n"
    )
    return head.encode() + id_line + closing + b"\r\n"
