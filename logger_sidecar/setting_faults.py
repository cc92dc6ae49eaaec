"""Checks that several settings share; each returns its faults as sentences."""

import re

#: The name of a header: a token of RFC 9110, section 5.6.2.
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: A day. Times for the end, and between two attempts, are never longer.
MAX_WAIT_S = 86400


def above_zero(settings: object, fields: tuple[str, ...]) -> list[str]:
    """The ``fields`` that are zero or less, or no number."""
    return [
        f"{name} is {getattr(settings, name)}; it must be above 0" for name in fields if not getattr(settings, name) > 0
    ]


def below_zero(settings: object, fields: tuple[str, ...]) -> list[str]:
    """The ``fields`` that are less than zero, or no number."""
    found = {name: getattr(settings, name) for name in fields}
    return [f"{name} is {value:g}; it must not be below 0" for name, value in found.items() if not value >= 0]


def endless(settings: object, fields: tuple[str, ...]) -> list[str]:
    """The ``fields`` that are longer than anybody waits."""
    found = {name: getattr(settings, name) for name in fields}
    return [
        f"{name} is {value:g}; it must not be above {MAX_WAIT_S} s"
        for name, value in found.items()
        if value > MAX_WAIT_S
    ]
