"""Where in an inference a column's value is: ``prompt``, ``features[3]``, ``response.usage.completion_tokens``.

A path names a tensor or field, then steps into it: ``.key`` into an object, ``[3]`` or ``[-1]`` into a list, ``[*]``
for every item of a list that has one item per row. Before it may stand where to look: ``request.``, ``response.``, or
``event.`` for what was measured instead of sent. A name with dots or brackets of its own is written in quotes:
``"model.layer 1"[0]``.

Business keys are in the JSON itself instead of among tensors, so that their path may begin with a list:
``[*].order_id``.

>>> parse_path("response.choices[0].message.content")
PayloadPath(half='response', steps=('choices', 0, 'message', 'content'))
>>> parse_path('"a.b"[*]')
PayloadPath(half='request', steps=('a.b', '*'))
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

Step: TypeAlias = str | int
Half = Literal["request", "response", "event"]

#: The step ``[*]``. A key of this name is the same to nobody, because it would be written ``"*"`` and is refused.
EVERY: Final = "*"
#: What ``event.`` may be followed by: numbers that the sidecar measured. Times in milliseconds, sizes in bytes.
EVENT_FIELDS: Final = ("duration_ms", "ttfb_ms", "ttft_ms", "chunk_count", "request_bytes", "response_bytes")

_HALVES: Final = ("request", "response", "event")
_STEP = re.compile(r'\[(?P<index>-?\d{1,9}|\*)\]|(?P<dot>\.)?(?:"(?P<quoted>[^"]+)"|(?P<plain>[^.\[\]"]+))')


class PayloadPath(NamedTuple):
    """A path in parts. The first step is a text; of ``event`` there is exactly one."""

    half: Half
    steps: tuple[Step, ...]


def parse_path(text: str, half: Half = "request") -> PayloadPath:
    """Read a path; raises ValueError that says what is wrong with it. ``half``: where it looks unless it says so."""
    steps = list(_steps(text))
    if len(steps) > 1 and steps[0] in _HALVES and not text.startswith('"') and isinstance(steps[1], str):
        half = _half(str(steps[0]))
        steps = steps[1:]
    if not steps or not isinstance(steps[0], str) or steps[0] == EVERY:
        raise ValueError("a path begins with a name, such as prompt or features[3]")
    _require_one_every(steps)
    if half == "event" and (len(steps) > 1 or steps[0] not in EVENT_FIELDS):
        raise ValueError(f"event. is followed by one of {', '.join(EVENT_FIELDS)}")
    return PayloadPath(half, tuple(steps))


def parse_document_path(text: str) -> PayloadPath:
    """Read a path into the JSON of the request or the answer, which may be a list itself; raises ValueError.

    With ``$`` before it, as such paths were written once, it begins at the top of the request, whatever it is called.

    >>> parse_document_path("[*].order_id") == parse_document_path("$[*].order_id")
    True
    >>> parse_document_path("$.response.id")
    PayloadPath(half='request', steps=('response', 'id'))
    """
    is_rooted = text.startswith("$")
    if not is_rooted and not text.startswith("["):
        path = parse_path(text)
        if path.half == "event":
            raise ValueError("a key is in the request or in the response, not in event.")
        return path
    rest = text.removeprefix("$")
    if is_rooted and rest[:1] not in ("", ".", "["):
        raise ValueError("behind $ a path goes on with a dot or a bracket")
    steps = tuple(_steps(rest[1:] if rest.startswith(".") and len(rest) > 1 else rest))
    _require_one_every(steps)
    return PayloadPath("request", steps)


def _require_one_every(steps: Sequence[Step]) -> None:
    if steps.count(EVERY) > 1:
        raise ValueError("a path has one [*] at most, where its rows are")


def _half(word: str) -> Half:
    return "response" if word == "response" else "event" if word == "event" else "request"


def _steps(text: str) -> Iterator[Step]:
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        is_misplaced = found is not None and found["index"] is None and (found["dot"] is None) == (position > 0)
        if found is None or is_misplaced:
            raise ValueError(f"a path is not understood from '{text[position : position + 20]}' on")
        position = found.end()
        if found["index"] is not None:
            yield EVERY if found["index"] == EVERY else int(found["index"])
            continue
        name = found["quoted"] or found["plain"]
        if name == EVERY:
            raise ValueError("every item is written [*]")
        yield name
