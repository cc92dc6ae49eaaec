r"""Patterns that find personal data in texts: those of the user, and a few that everybody needs.

They run on RE2, whose time is linear in the text whatever the pattern; so lookaround and back references are refused.
Where a form alone says too little, a check of its own decides: Luhn's digit for cards (ISO/IEC 7812), the remainder
of ISO 13616 for IBANs, the parsed address for IPs.

>>> find = compile_pattern("@credit-card")
>>> find.replace(b"card 4111 1111 1111 1111, order 1234567812345678", lambda found: b"[redacted]")
b'card [redacted], order 1234567812345678'
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2

#: Start and end, within the bytes that the form matched, of what is to go; None: it is not one after all.
Check = Callable[[bytes], tuple[int, int] | None]
_MAX_MEMORY_BYTES = 16 * 1024 * 1024


class PatternError(ValueError):
    """A pattern that RE2 does not take, or a name that is none; the message says why."""


@dataclass(frozen=True, slots=True)
class TextPattern:
    """A compiled pattern, over UTF-8 bytes. ``needs``: what a text without any match mostly lacks, found sooner."""

    text: str
    form: Any
    check: Check | None
    needs: re.Pattern[bytes] | None = None

    def replace(self, text: bytes, replacement: Callable[[bytes], bytes]) -> bytes:
        """The text with each match replaced; the same object where there is none."""
        spans = self.spans(text)
        if not spans:
            return text
        pieces: list[bytes] = []
        kept = 0
        for start, end in spans:
            pieces += (text[kept:start], replacement(text[start:end]))
            kept = end
        return b"".join((*pieces, text[kept:]))

    def spans(self, text: bytes) -> list[tuple[int, int]]:
        """Start and end of each match, in order."""
        found: list[tuple[int, int]] = []
        if self.needs is not None and self.needs.search(text) is None:
            return found
        position = 0
        while (match := self.form.search(text, position)) is not None:
            start, end = match.span()
            if start == end or (span := self._span(text[start:end])) is None:
                position = start + 1 if start == end else _next_start(text, start)
                if position > len(text):
                    break
                continue
            position = start + span[1]
            found.append((start + span[0], position))
        return found

    def _span(self, found: bytes) -> tuple[int, int] | None:
        return (0, len(found)) if self.check is None else self.check(found)


def compile_pattern(text: str) -> TextPattern:
    """A regular expression, or ``@`` and the name of a built-in one; raises PatternError."""
    if text.startswith("@"):
        if text not in BUILT_IN:
            raise PatternError(f"there is no pattern '{text}'; there are {', '.join(BUILT_IN)}")
        form, check, needs = BUILT_IN[text]
        return TextPattern(text, _compile(form), check, needs)
    if not text:
        raise PatternError("the pattern is empty")
    compiled = _compile(text)
    if compiled.search(b"") is not None:
        raise PatternError("the pattern matches the empty text, so it would match everywhere")
    return TextPattern(text, compiled, None)


def _compile(form: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY_BYTES
    try:
        return re2.compile(form.encode(), options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        detail = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise PatternError(f"RE2 does not take the pattern: {detail}") from error


def _next_start(text: bytes, start: int) -> int:
    """Behind the word at ``start``, because a match cannot begin inside it."""
    end = _WORD.match(text, start)
    return max(end.end() if end else 0, start + 1)


_WORD = re.compile(rb"\w+", re.ASCII)
_DIGITS = re.compile(rb"[0-9]+")
#: What digits and letters count for in an IBAN; -1 for others.
_VALUES = [int(chr(byte), 36) if chr(byte).isalnum() and byte < 128 else -1 for byte in range(256)]


def _card(found: bytes) -> tuple[int, int] | None:
    """The longest run of whole groups of digits, from the first on, that is a card's number."""
    best = None
    digits = b""
    for group in _DIGITS.finditer(found):
        digits += group[0]
        if len(digits) > 19:
            break
        if len(digits) >= 13 and digits[:1] in b"23456" and _luhn(digits):
            best = (0, group.end())
    return best


def _luhn(digits: bytes) -> bool:
    total = 0
    for place, byte in enumerate(reversed(digits)):
        digit = byte - 48
        total += digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4)
    return total % 10 == 0


def _iban(found: bytes) -> tuple[int, int] | None:
    """The longest beginning whose remainder is 1 (ISO 13616-1; 15 to 34 characters)."""
    values = [(value, place + 1) for place, byte in enumerate(found.upper()) if (value := _VALUES[byte]) >= 0]
    head = int("".join(str(value) for value, _ in values[:4]))
    shift = 10 ** len(str(head)) % 97
    remainder, end = 0, 0
    for count, (value, place) in enumerate(values[4:34], start=5):
        remainder = (remainder * (10 if value < 10 else 100) + value) % 97
        if count >= 15 and (remainder * shift + head) % 97 == 1:
            end = place
    return (0, end) if end else None


def _ip(found: bytes) -> tuple[int, int] | None:
    for part in (found, found.rstrip(b":")):
        try:
            ipaddress.ip_address(part.decode("ascii"))
        except ValueError:
            continue
        return 0, len(part)
    return None


def _phone(found: bytes) -> tuple[int, int] | None:
    """As many groups as 15 digits have room for (ITU-T E.164), behind a leading 00."""
    count, end = (-2 if found.startswith(b"00") else 0), 0
    for group in _DIGITS.finditer(found):
        count += len(group[0])
        if count > 15:
            break
        end = group.end() if count >= 7 else 0
    return (0, end) if end else None


def _ssn(found: bytes) -> tuple[int, int] | None:
    """Area, group and serial as they are given out (Social Security Administration, 2011)."""
    area, group, serial = _DIGITS.findall(found)
    fits = area not in (b"000", b"666") and area[:1] != b"9" and group != b"00" and serial != b"0000"
    return (0, len(found)) if fits else None


_IPV4_TAIL = r"(?:\.[0-9]{1,3}){3}"
_HEX = "[0-9A-Fa-f]"
_IP_FORM = (
    rf"\b[0-9]{{1,3}}{_IPV4_TAIL}\b"
    rf"|\b{_HEX}{{1,4}}(?::{_HEX}{{0,4}}){{2,7}}(?:{_IPV4_TAIL})?"
    rf"|\B::{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{0,6}}(?:{_IPV4_TAIL})?\b"
)
_PHONE_FORM = (
    r"(?:\+|\b00)[1-9][0-9]{0,2}(?:[ ./-]?\(?[0-9]{1,5}\)?){2,6}\b"
    r"|(?:\([0-9]{3}\)[ -]?|\b[0-9]{3}[-. ])[0-9]{3}[-. ][0-9]{4}\b"
)
_A_DIGIT = re.compile(rb"[0-9]")
#: Form, check, and what every match holds, by name.
BUILT_IN: dict[str, tuple[str, Check | None, re.Pattern[bytes]]] = {
    "@email": (r"[\pL\pN._%+'-]+(?:@|%40)[\pL\pN-]+(?:\.[\pL\pN-]+)+", None, re.compile(rb"@|%40")),
    "@credit-card": (r"\b[0-9](?:[ -]?[0-9]){12,30}\b", _card, _A_DIGIT),
    "@ip": (_IP_FORM, _ip, re.compile(rb"[0-9]\.[0-9]|:[0-9A-Fa-f:]")),
    "@phone": (_PHONE_FORM, _phone, _A_DIGIT),
    "@iban": (r"(?i)\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}\b", _iban, _A_DIGIT),
    "@us-ssn": (r"\b[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}\b", _ssn, _A_DIGIT),
}
