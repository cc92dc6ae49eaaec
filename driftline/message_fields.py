"""The ``ce_`` headers of a message, read with every fault that is found.

>>> fields = Fields([("ce_type", b"a"), ("ce_time", b"1970-01-01T00:00:00.000000005Z")], "a")
>>> fields.time_ns("time"), fields.text("id"), fields.faults
(5, '', ['ce_id is missing'])
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from driftline.errors import EventError

KafkaHeaders = Sequence[tuple[str, bytes]]
_texts_decoder = msgspec.json.Decoder(dict[str, str])


def parse_time_ns(text: str) -> int:
    """Nanoseconds since the epoch of a time as RFC 3339 writes it; raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    fraction = ""
    if "." in text:
        tail = text.split(".", 1)[1]
        digits = len(tail) - len(tail.lstrip("0123456789"))
        fraction = tail[:digits]
    seconds = int(moment.replace(microsecond=0).timestamp())
    time_ns = seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or "0")
    if abs(time_ns) >= 2**63:
        raise ValueError("beyond 64 bits of nanoseconds")
    return time_ns


class Fields:
    """The ``ce_`` headers of one message, with the faults found while reading them."""

    def __init__(self, headers: KafkaHeaders, expected_type: str) -> None:
        self.faults: list[str] = []
        self._values: dict[str, str] = {}
        for name, value in headers:
            if name.startswith("ce_"):
                self._values[name[3:]] = value.decode("utf-8", "replace")
        found = self._values.get("type")
        if found != expected_type:
            self.faults.append(f"ce_type is {found!r}, not '{expected_type}'")

    def has(self, name: str) -> bool:
        """Whether the message says it."""
        return name in self._values

    def text(self, name: str, default: str | None = None) -> str:
        """A text; where there is none, the default, without which that is a fault."""
        value = self._values.get(name, default)
        if value is None or (value == "" and default is None):
            self.faults.append(f"ce_{name} is missing")
            return ""
        return value

    def texts(self, name: str) -> dict[str, str]:
        """A JSON object of texts; empty where there is none."""
        try:
            return _texts_decoder.decode(self._values.get(name, "{}"))
        except msgspec.MsgspecError as error:
            self.faults.append(f"ce_{name} is not a JSON object of texts: {error}")
            return {}

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number; 1 where it is a fault."""
        text = self._values.get(name)
        if text is None and default is not None:
            return default
        try:
            number = float(text or "")
        except ValueError:
            number = float("nan")
        if not abs(number) < float("inf"):
            self.faults.append(f"ce_{name} {text!r} is not a finite number")
            return 1.0
        return number

    def whole(self, name: str, lowest: int, highest: int) -> int:
        """A whole number within bounds; the lowest where it is a fault."""
        text = self._values.get(name, "")
        if not (text.isascii() and text.isdigit() and lowest <= int(text[:20]) <= highest):
            self.faults.append(f"ce_{name} {text!r} is not a whole number from {lowest} to {highest}")
            return lowest
        return int(text)

    def time_ns(self, name: str) -> int:
        """Nanoseconds since the epoch; 0 where it is a fault."""
        text = self._values.get(name, "")
        try:
            return parse_time_ns(text)
        except ValueError:
            self.faults.append(f"ce_{name} {text!r} is not an RFC 3339 time")
            return 0

    def raise_if_faulty(self, subject: str) -> None:
        """Raise EventError where a fault was found."""
        if self.faults:
            raise EventError(subject, self.faults)
