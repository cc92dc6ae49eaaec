"""JSON paths: a documented subset of RFC 9535, for finding places in a document.

What there is: ``$`` and then any number of ``.name``, ``['name']``, ``[0]``, ``[-1]``, ``[*]``, ``.*``, the recursive
descents ``..name``, ``..[0]``, ``..*``, and the filter ``[?@.name=='value']`` (also ``!=``, a path of several names,
a number, true, false or null). What there is not: slices, unions, functions, ``&&`` and ``||``.

>>> document = {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}
>>> [place.value for place in parse_path("$.messages[?@.role=='user'].content").find(document)]
['b']
"""

import json
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple


class PathError(ValueError):
    """A text that is no path of this subset; the message says where and why."""


class Place(NamedTuple):
    """A place in a document: a member of an object or an element of a list, which can be set."""

    holder: Any
    key: Any

    @property
    def value(self) -> Any:
        """What stands there."""
        return self.holder[self.key]


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Index:
    index: int


@dataclass(frozen=True, slots=True)
class _Every:
    pass


@dataclass(frozen=True, slots=True)
class _Filter:
    names: tuple[str, ...]
    is_equal: bool
    value: Any


_Selector = _Name | _Index | _Every | _Filter


@dataclass(frozen=True, slots=True)
class _Segment:
    selector: _Selector
    descends: bool


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed path."""

    text: str
    segments: tuple[_Segment, ...]

    def find(self, document: Any) -> list[Place]:
        """Every place that the path names, in no particular order; the root's is in a list made for it.

        Numbers held as an ``array`` become a list where the path goes into them.
        """
        places = [Place([document], 0)]
        for segment in self.segments:
            if segment.descends:
                places = [below for place in places for below in _descendants(place)]
            places = [found for place in places for found in _select(place, segment.selector)]
        return places


_NAME = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff-]*"
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_SEGMENT = re.compile(
    rf"(?P<dots>\.\.|\.)(?P<name>{_NAME}|\*)"
    rf"|(?P<deep>\.\.)?\[\s*(?:(?P<quoted>{_QUOTED})|(?P<index>-?\d+)|(?P<star>\*)"
    rf"|\?\s*\(?\s*@(?P<names>(?:\.{_NAME}|\[(?:{_QUOTED})\])+)\s*(?P<sign>==|!=)\s*"
    rf"(?P<literal>{_QUOTED}|-?\d+(?:\.\d+)?|true|false|null)\s*\)?)\s*\]"
)
_FILTER_NAME = re.compile(rf"\.({_NAME})|\[({_QUOTED})\]")


def parse_path(text: str) -> JsonPath:
    """Read a path; raises PathError."""
    if not text.startswith("$"):
        raise PathError("a path begins with '$'")
    segments = []
    position = 1
    while position < len(text):
        found = _SEGMENT.match(text, position)
        if found is None:
            raise PathError(f"what begins at '{text[position : position + 20]}' is not understood")
        segments.append(_segment(found))
        position = found.end()
    return JsonPath(text, tuple(segments))


def _segment(found: re.Match[str]) -> _Segment:
    if name := found["name"]:
        return _Segment(_Every() if name == "*" else _Name(name), found["dots"] == "..")
    return _Segment(_selector(found), found["deep"] is not None)


def _selector(found: re.Match[str]) -> _Selector:
    if found["quoted"] is not None:
        return _Name(_unquote(found["quoted"]))
    if found["index"] is not None:
        return _Index(int(found["index"]))
    if found["star"] is not None:
        return _Every()
    names = tuple(name or _unquote(quoted) for name, quoted in _FILTER_NAME.findall(found["names"]))
    literal = found["literal"]
    value = _unquote(literal) if literal[0] in "'\"" else json.loads(literal)
    return _Filter(names, found["sign"] == "==", value)


def _unquote(text: str) -> str:
    inner = text[1:-1]
    if text[0] == "'":
        inner = inner.replace("\\'", "'").replace('"', '\\"')
    try:
        plain = json.loads(f'"{inner}"')
    except ValueError as error:
        raise PathError(f"the text {text} has an escape that JSON does not know") from error
    return str(plain)


def _select(place: Place, selector: _Selector) -> Iterator[Place]:
    value = _opened(place)
    if isinstance(selector, _Name):
        if isinstance(value, dict) and selector.name in value:
            yield Place(value, selector.name)
    elif isinstance(selector, _Index):
        if isinstance(value, list) and -len(value) <= selector.index < len(value):
            yield Place(value, selector.index)
    else:
        for child in _children(value):
            if isinstance(selector, _Every) or _fits(child.value, selector):
                yield child


def _fits(value: Any, wanted: _Filter) -> bool:
    for name in wanted.names:
        if not isinstance(value, dict) or name not in value:
            return not wanted.is_equal
        value = value[name]
    is_same = value == wanted.value and isinstance(value, bool) == isinstance(wanted.value, bool)
    return is_same == wanted.is_equal


def _descendants(place: Place) -> Iterator[Place]:
    yield place
    for child in _children(_opened(place)):
        yield from _descendants(child)


def _children(value: Any) -> list[Place]:
    if isinstance(value, dict):
        return [Place(value, key) for key in value]
    return [Place(value, index) for index in range(len(value))] if isinstance(value, list) else []


def _opened(place: Place) -> Any:
    value = place.value
    if isinstance(value, array):
        value = place.holder[place.key] = value.tolist()
    return value
