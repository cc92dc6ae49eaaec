"""Durations as people write them in monitors and as Prometheus writes them in rules: ``30s``, ``1h30m``, ``28d``."""

import re

_UNITS_S = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[wdhms])")


def parse_duration(text: str) -> float:
    """Seconds in ``text``; raises ValueError naming the text when it is not a duration above zero.

    >>> parse_duration("1h30m")
    5400.0
    """
    stripped = text.strip()
    parts = _PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise ValueError(f"'{text}' is not a duration; write a number and a unit, such as 30s, 5m, 6h, 1d or 30d")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if seconds <= 0:
        raise ValueError(f"'{text}' must be longer than zero")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest exact spelling that Prometheus also reads, rounded to a millisecond.

    >>> format_duration(5400.0), format_duration(2592000.0), format_duration(0.25)
    ('1h30m', '30d', '250ms')
    """
    rest_ms = round(seconds * 1000)
    if rest_ms <= 0:
        return "0s"
    parts: list[str] = []
    for unit in ("d", "h", "m", "s", "ms"):
        unit_ms = round(_UNITS_S[unit] * 1000)
        count, rest_ms = divmod(rest_ms, unit_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
