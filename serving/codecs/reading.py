"""What a codec makes of one half of an inference, and what it is told about whom it reads for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from serving.tensors import Tensor

Half = Literal["request", "response"]
REQUEST: Final = "request"
#: The format of a document of no known protocol: its members are its only row.
OBJECT: Final = "object"
RESPONSE: Final = "response"

#: What is found at a place that is not there. None is a value: a JSON null.
ABSENT: Final = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for in one half.

    ``names``: fields and tensors that matter, in the monitor's order (a mapping, for its quick ``in``); of rows with
    named fields, codecs read no others. ``raw_datatype``, ``width``: type and values per row of a body that is nothing
    but one raw tensor. ``positive``: the class whose share is the score. ``header``: whether the first line of a CSV
    holds names, None where its content tells. ``paths``: whether places in the document are looked at, too.
    """

    names: Mapping[str, None] = field(default_factory=dict)
    raw_datatype: str | None = None
    width: int = 1
    positive: str = "1"
    header: bool | None = None
    paths: bool = False


# A msgspec Struct, not a dataclass: two are made for every event.
class Reading(msgspec.Struct, gc=False):
    """What one half says.

    ``format``: the codec that read it. ``tensors``: its fields, each with its rows along the first axis.
    ``document``: what a path may look into besides, or as ``text`` what it is to be read from; ABSENT and empty where
    there is nothing. ``messages``: how many messages of a
    stream it was put together from. ``loose``: an only tensor may stand for what is wanted, whatever its name; not so
    where the protocol itself has named it.
    """

    format: str
    tensors: list[Tensor]
    document: Any = ABSENT
    text: bytes = b""
    messages: int = 1
    loose: bool = True
