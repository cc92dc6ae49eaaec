r"""Patterns over everything that is text in a document or a body.

Texts are searched as they are, and where they have escapes like ``\u0040`` (JSON inside a text), as those mean them.
Keys of objects are texts too. A whole number goes when a pattern finds all of it, in a tensor as in JSON; 5.0 is one.
"""

import codecs
import encodings
import json
import pkgutil
import re
from array import array
from collections.abc import Sequence
from encodings.aliases import aliases
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from logger_sidecar.finishing.redaction_bodies import Unreadable
from logger_sidecar.finishing.redaction_patterns import TextPattern
from logger_sidecar.finishing.redaction_pieces import scrub_pieces
from logger_sidecar.finishing.redaction_values import Replacement

REASON_OPAQUE = "opaque"
#: So much of a cut text's end is left out: a pattern cannot tell what began there.
CUT_BYTES = 256
_MAX_NAMES = 1024
_MAX_NUMBERS = 4096
#: Looked for from the first backslash of a run alone: from each of them the time would grow with the run's square.
_ESCAPE = re.compile(rb"(?<!\\)\\+u([0-9a-fA-F]{4})")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
#: Code units of more than a byte: nothing of it can be read as UTF-8.
_WIDE = ("utf-16", "utf-32")
#: Encodings of names of hosts, whose time is not linear; no text is in them.
_OF_NAMES = {"idna", "punycode"}
#: What Python may be asked for: it remembers each name that it was asked for and did not know.
_CHARSETS = frozenset({*aliases, *(module.name for module in pkgutil.iter_modules(encodings.__path__))} - _OF_NAMES)
_FORM = "application/x-www-form-urlencoded"
#: What a status message of gRPC does not encode: visible ASCII but for the percent sign.
_GRPC_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
#: Tensors of numbers whose elements are held as bits, which say nothing.
_BITS = frozenset({"FP16", "BF16", "BOOL"})


class TextScrubber:
    """Replaces what patterns find. False where there are none."""

    def __init__(self, patterns: Sequence[tuple[TextPattern, Replacement]]) -> None:
        self._patterns = patterns
        #: What became of names of members; the same few come again and again.
        self._names: dict[str, str] = {}
        #: Numbers that no pattern finds; most tensors have few.
        self._clean: set[int | float] = set()

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def text(self, text: str) -> str:
        """A text; the same object where nothing is found."""
        given = text.encode("utf-8", "surrogatepass")
        scrubbed = self._bytes(given)
        return text if scrubbed is given else scrubbed.decode("utf-8", "surrogatepass")

    def percent_text(self, text: str) -> str:
        """A status message of gRPC, whose characters may be escaped (gRPC over HTTP/2, "Status-Message")."""
        plain = unquote(text, errors="surrogateescape")
        scrubbed = self.text(plain)
        return text if scrubbed is plain else quote(scrubbed, safe=_GRPC_PLAIN, errors="surrogateescape")

    def pieces(self, parts: list[Any]) -> bool:
        """Documents and texts that came one after another, changed in place where something crosses their borders."""
        return scrub_pieces(parts, self._patterns)

    def document(self, document: Any) -> tuple[Any, bool]:
        """A document, changed in place where it can be, and whether something was found."""
        if isinstance(document, str):
            text = self.text(document)
            return text, text is not document
        if isinstance(document, dict):
            return document, self._object(document)
        if isinstance(document, list):
            return document, self._list(document)
        if isinstance(document, bytes):
            scrubbed = self.opaque(document)
            return scrubbed, scrubbed is not document
        if isinstance(document, int | float) and not isinstance(document, bool):
            return self._number(document)
        return document, False

    def body(self, body: bytes, content_type: str | None, *, cut: bool) -> bytes:
        """A body that is no document. ``cut``: its end is missing. Raises Unreadable."""
        if cut:
            body = body[: max(0, len(body) - CUT_BYTES)]
        errors = "ignore" if cut else "strict"
        if (content_type or "")[: len(_FORM)].lower() == _FORM:
            body = self._form(body)
        named = _charset(content_type)
        if named.startswith(_WIDE):
            return self._encoded(body, named, errors)
        if named:
            body = self._perhaps_encoded(body, named, errors)
        guessed = json.detect_encoding(body)
        if guessed.startswith(_WIDE):
            body = self._perhaps_encoded(body, guessed, errors)
        try:
            body.decode("utf-8", errors)
        except UnicodeDecodeError:
            return self.opaque(body)
        return self.opaque(body) if b"\0" in body else self._bytes(body)

    def opaque(self, data: bytes) -> bytes:
        """Bytes whose lengths must stay: what is found is overwritten. Raises Unreadable where an escape hides it."""
        for pattern, _ in self._patterns:
            data = pattern.replace(data, lambda found: b"*" * len(found))
        if b"\\u" in data:
            plain = _ESCAPE.sub(_unescaped, data)
            if any(pattern.spans(plain) for pattern, _ in self._patterns):
                raise Unreadable(REASON_OPAQUE)
        return data

    def _encoded(self, body: bytes, charset: str, errors: str) -> bytes:
        """A text in this charset; the same object where nothing is found."""
        try:
            text = body.decode(charset, errors)
            scrubbed = self.text(text)
            return body if scrubbed is text else scrubbed.encode(charset)
        except (LookupError, UnicodeError) as error:
            raise Unreadable(REASON_OPAQUE) from error

    def _perhaps_encoded(self, body: bytes, charset: str, errors: str) -> bytes:
        """As ``_encoded``, where the charset may not be the body's."""
        try:
            body.decode(charset, errors)
        except (LookupError, UnicodeError):
            return body
        return self._encoded(body, charset, errors)

    def _form(self, body: bytes) -> bytes:
        """A form's fields, as they are without their escapes."""
        fields = parse_qsl(body.decode("utf-8", "surrogateescape"), keep_blank_values=True, errors="surrogateescape")
        plain = [(self.text(name), self.text(value)) for name, value in fields]
        return body if plain == fields else urlencode(plain, errors="surrogateescape").encode()

    def _bytes(self, text: bytes) -> bytes:
        """UTF-8; the same object where nothing is found."""
        scrubbed = text
        for pattern, replacement in self._patterns:
            scrubbed = pattern.replace(scrubbed, replacement.match)
        if b"\\u" in scrubbed:
            plain = _ESCAPE.sub(_unescaped, scrubbed)
            if plain != scrubbed:
                found = plain
                for pattern, replacement in self._patterns:
                    found = pattern.replace(found, replacement.match)
                return scrubbed if found is plain else found
        return scrubbed

    def _object(self, document: dict[Any, Any]) -> bool:
        is_changed = False
        renamed = {}
        for name, value in document.items():
            if isinstance(value, array):
                found = document.get("datatype") not in _BITS and self._tensor(document, name, value)
                is_changed |= found
            elif isinstance(value, str | dict | list | int | float | bytes):
                document[name], found = self.document(value)
                is_changed |= found
            if isinstance(name, str) and (plain := self._name(name)) != name:
                renamed[name] = plain
        if renamed:
            _rename(document, renamed)
        return is_changed or bool(renamed)

    def _name(self, name: str) -> str:
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= _MAX_NAMES:
                self._names.clear()
            known = self._names[name] = self.text(name)
        return known

    def _list(self, items: list[Any]) -> bool:
        is_changed = False
        for place, item in enumerate(items):
            if item is None or (type(item) is float and not item.is_integer()):
                continue
            items[place], found = self.document(item)
            is_changed |= found
        return is_changed

    def _tensor(self, holder: dict[Any, Any], name: Any, numbers: "array[Any]") -> bool:
        """A tensor's numbers, which become a list where one is found."""
        looked_at = {number for number in numbers if number.is_integer()} if numbers.typecode in "fd" else set(numbers)
        found = {number: value for number in looked_at for value, is_found in (self._number(number),) if is_found}
        if found:
            holder[name] = [found.get(number, number) for number in numbers]
        return bool(found)

    def _number(self, number: int | float) -> tuple[int | float | str | None, bool]:
        if number in self._clean or (isinstance(number, float) and not number.is_integer()):
            return number, False
        digits = str(int(number)).encode()
        for pattern, replacement in self._patterns:
            found = [digits[start:end] for start, end in pattern.spans(digits)]
            if found in ([digits], [digits.lstrip(b"-")]):
                return (None if replacement.key is None else replacement.value(number)), True
        if len(self._clean) >= _MAX_NUMBERS:
            self._clean.clear()
        self._clean.add(number)
        return number, False


def _charset(content_type: str | None) -> str:
    """The name of the charset that a content type says and Python knows; empty where there is none, or UTF-8."""
    said = _CHARSET.search(content_type or "")
    if not said or encodings.normalize_encoding(said[1]).lower() not in _CHARSETS:
        return ""
    try:
        name = codecs.lookup(said[1]).name
    except (LookupError, ValueError):  # one of another system
        return ""
    return "" if name == "utf-8" else name


def _unescaped(found: re.Match[bytes]) -> bytes:
    """A character in place of its escape, where that means the same: no control character, quote or backslash."""
    code = int(found[1], 16)
    is_plain = code >= 0x20 and code not in (0x22, 0x5C, 0x7F) and not 0xD800 <= code <= 0xDFFF
    return chr(code).encode() if is_plain else found[0]


def _rename(document: dict[Any, Any], renamed: dict[str, str]) -> None:
    """Other names for members, in their order; two that become alike are told apart by a number."""
    members = list(document.items())
    document.clear()
    counts: dict[str, int] = {}  # how far each has come: looked for anew, many that become alike would take too long
    for name, value in members:
        plain = base = renamed.get(name, name)
        count = counts.get(base, 1)
        while plain in document:
            count += 1
            plain = f"{base} {count}"
        counts[base] = count
        document[plain] = value
