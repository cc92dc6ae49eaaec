"""Triton's generate extension: ``text_input`` in, ``text_output`` out; also found as ``prompt`` and ``answer``.

Other members of the object are fields of their own names. A stream is folded before (``codecs.event_streams``).
Source: https://github.com/triton-inference-server/server, docs/protocol/extension_generate.md
"""

from collections.abc import Collection, Mapping
from typing import Any

from serving.tensors import Tensor

_FIELDS = {"text_input": "prompt", "text_output": "answer"}


def is_document(document: Mapping[str, Any]) -> bool:
    """Whether an object is a request or an answer of the extension."""
    return "text_input" in document or "text_output" in document


def tensors(document: Mapping[str, Any], wanted: Collection[str]) -> list[Tensor]:
    """The fields of a request or answer: the text, and the ``wanted`` members; a list is a row for each item."""
    found = [_field(other, document[name]) for name, other in _FIELDS.items() if name in document]
    known = {tensor.name for tensor in found}
    return found + [_field(name, document[name]) for name in wanted if name in document and name not in known]


def _field(name: str, value: Any) -> Tensor:
    values = value if isinstance(value, list) else [value]
    return Tensor(name, "", (len(values),), values)
