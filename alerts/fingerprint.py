"""The fingerprint by which Alertmanager knows an alert again: FNV-1a, 64 bits, over its sorted labels."""

from collections.abc import Mapping

_OFFSET = 14695981039346656037
_PRIME = 1099511628211
_MASK = (1 << 64) - 1
_SEPARATOR = b"\xff"


def fingerprint(labels: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits; equal labels, and only they, give equal fingerprints.

    >>> fingerprint({"alertname": "a"})
    'd258efc389808447'
    """
    value = _OFFSET
    for name in sorted(labels):
        for part in (name.encode(), _SEPARATOR, labels[name].encode(), _SEPARATOR):
            for byte in part:
                value = ((value ^ byte) * _PRIME) & _MASK
    return f"{value:016x}"
