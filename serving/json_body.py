"""Reading JSON that others wrote: strict and fast first, then with the NaN and Infinity that Python clients send."""

import json
from typing import Any, TypeVar

import msgspec

from driftline.errors import DecodeError
from serving import reasons

T = TypeVar("T")
_any = msgspec.json.Decoder()


class NotThisFormat(Exception):  # noqa: N818 - an answer to "is it this format?", never seen by a caller of the room
    """The body is JSON, but not of the type asked for; the message says where."""


def read(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as the decoder's type; raises NotThisFormat, or DecodeError when it is not JSON at all."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise NotThisFormat(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        value = _read_lenient(body, error)
    try:
        return msgspec.convert(value, decoder.type)
    except (msgspec.ValidationError, RecursionError) as error:
        raise NotThisFormat(str(error)) from error


def read_any(body: bytes) -> Any:
    """The body as whatever JSON it is; raises DecodeError when it is none."""
    try:
        return _any.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _read_lenient(body, error)


def _read_lenient(body: bytes, fault: Exception) -> Any:
    # A number beyond float64 is infinite to Python and a fault to msgspec.
    if b"NaN" in body or b"Infinity" in body or isinstance(fault, msgspec.ValidationError):
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            fault = error
    raise DecodeError(reasons.MALFORMED, f"the body is not JSON: {fault}") from fault
