"""Labels as people send them in JSON, with every fault by field and value."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from driftline.errors import PermanentError
from driftline.events import Label


class UploadError(PermanentError):
    """The whole body or file cannot be read."""


@dataclass(frozen=True, slots=True)
class ReadLabel:
    """One label of a request: either the label, or why it cannot be one."""

    label: Label | None
    fault: str | None = None


def labels_from_json(body: bytes) -> list[ReadLabel]:
    """One object or a list of them; raises UploadError when it is neither."""
    try:
        parts = _json_parts(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UploadError(f"the body is not JSON: {error}") from error
    return [label_from_json(part) for part in parts]


def _json_parts(body: bytes) -> Sequence[bytes]:
    if body.lstrip()[:1] == b"[":
        return [bytes(part) for part in msgspec.json.decode(body, type=list[msgspec.Raw])]
    return [bytes(msgspec.json.decode(body, type=msgspec.Raw))]


def label_from_json(part: bytes) -> ReadLabel:
    """One label, or why it cannot be read."""
    try:
        return ReadLabel(msgspec.json.decode(part, type=Label))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return ReadLabel(None, str(error))
