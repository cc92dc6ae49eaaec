"""Values taken out of lists by their places, many at once."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Protocol, cast

from driftline.native import native_module

Picker = Callable[[Sequence[Any]], list[Any]]


class Kernel(Protocol):
    """What ``picking_kernel.pyx`` gives."""

    def Places(self, places: Sequence[int]) -> Picker:  # noqa: N802
        """As :func:`picker`."""
        ...


def kernel() -> Kernel | None:
    """The compiled module; None where this build has none."""
    return cast("Kernel | None", native_module("detectors.evaluating.picking_kernel"))


_KERNEL = kernel()


def picker(places: Sequence[int], compiled: Kernel | None = _KERNEL) -> Picker:
    """What takes the values at ``places`` out of any list, in their order; made once where many lists are asked.

    Places below 0 are counted from the end.

    >>> picker([2, 0, 2])("abc"), picker([1])("abc"), picker([])("abc")
    (['c', 'a', 'c'], ['b'], [])
    """
    if compiled is not None:
        return compiled.Places(places)
    if len(places) < 2:
        return lambda values: [values[place] for place in places]
    taken = itemgetter(*places)
    return lambda values: list(taken(values))
