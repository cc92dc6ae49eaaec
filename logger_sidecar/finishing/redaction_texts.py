r"""Patterns over everything that is text in a document or a body.

Texts are searched as they are, and where they have escapes like ``\u0040`` (JSON inside a text), as those mean them.
Keys of objects are texts too. A whole number goes when a pattern finds all of it.
"""

import re
from collections.abc import Sequence
from typing import Any

from logger_sidecar.finishing.redaction_bodies import Unreadable
from logger_sidecar.finishing.redaction_patterns import TextPattern
from logger_sidecar.finishing.redaction_values import Replacement

REASON_OPAQUE = "opaque"
#: So much of a cut text's end is left out: a pattern cannot tell what began there.
CUT_BYTES = 256
_MAX_NAMES = 1024
_ESCAPE = re.compile(rb"\\+u00([2-7][0-9a-fA-F])|\\+u([0-9a-fA-F]{4})")
_CHARSET = re.compile(r"charset\s*=\s*\"?(utf-?(?:16|32)[a-z-]*)", re.IGNORECASE)


class TextScrubber:
    """Replaces what patterns find. False where there are none."""

    def __init__(self, patterns: Sequence[tuple[TextPattern, Replacement]]) -> None:
        self._patterns = patterns
        #: What became of names of members; the same few come again and again.
        self._names: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def text(self, text: str) -> str:
        """A text; the same object where nothing is found."""
        given = text.encode("utf-8", "surrogatepass")
        scrubbed = self._bytes(given)
        return text if scrubbed is given else scrubbed.decode("utf-8", "surrogatepass")

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
        if isinstance(document, int) and not isinstance(document, bool):
            return self._number(document)
        return document, False

    def body(self, body: bytes, content_type: str | None, *, cut: bool) -> bytes:
        """A body that is no document. ``cut``: its end is missing. Raises Unreadable."""
        named = _CHARSET.search(content_type or "")
        wide = named[1] if named else "utf-16" if body[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        if cut:
            body = body[: max(0, len(body) - CUT_BYTES)]
        if wide:
            return self._wide(body, wide, cut)
        try:
            body.decode("utf-8", "ignore" if cut else "strict")
        except UnicodeDecodeError:
            return self.opaque(body)
        return self.opaque(body) if b"\0" in body else self._bytes(body)

    def opaque(self, data: bytes) -> bytes:
        """Bytes whose lengths must stay: what is found is overwritten."""
        for pattern, _ in self._patterns:
            data = pattern.replace(data, lambda found: b"*" * len(found))
        return data

    def _wide(self, body: bytes, charset: str, cut: bool) -> bytes:
        try:
            text = body.decode(charset, "ignore" if cut else "strict")
        except (LookupError, UnicodeDecodeError) as error:
            raise Unreadable(REASON_OPAQUE) from error
        return self.text(text).encode(charset)

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
            if isinstance(value, str | dict | list | int | bytes):
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
            if item is None or type(item) is float:
                continue
            items[place], found = self.document(item)
            is_changed |= found
        return is_changed

    def _number(self, number: int) -> tuple[int | str | None, bool]:
        digits = str(number).encode()
        for pattern, replacement in self._patterns:
            whole: list[bytes] = []
            pattern.replace(digits, lambda found, whole=whole: whole.append(found) or b"")  # type: ignore[misc]
            if whole == [digits]:
                return (None if replacement.key is None else replacement.value(number)), True
        return number, False


def _unescaped(found: re.Match[bytes]) -> bytes:
    """A character in place of its escape, where that means the same: no control character, quote or backslash."""
    code = int(found[1] or found[2], 16)
    is_plain = code >= 0x20 and code not in (0x22, 0x5C, 0x7F) and not 0xD800 <= code <= 0xDFFF
    return chr(code).encode() if is_plain else found[0]


def _rename(document: dict[Any, Any], renamed: dict[str, str]) -> None:
    """Other names for members, in their order; two that become alike are told apart by a number."""
    members = list(document.items())
    document.clear()
    for name, value in members:
        plain = base = renamed.get(name, name)
        count = 1
        while plain in document:
            count += 1
            plain = f"{base} {count}"
        document[plain] = value
