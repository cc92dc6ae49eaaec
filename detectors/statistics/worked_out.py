"""What follows from counts, and several statistics ask for, is worked out once and kept beside the counts."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


def worked_out(known: dict[Any, Any], name: Hashable, make: Callable[[], T]) -> T:
    """What is known by this name; made the first time.

    >>> known = {}
    >>> worked_out(known, "sum", lambda: 1 + 2), known
    (3, {'sum': 3})
    """
    if name not in known:
        known[name] = make()
    found: T = known[name]
    return found
