"""Values taken out of lists by their places, many at once."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

Picker = Callable[[Sequence[Any]], list[Any]]


def picker(places: Sequence[int]) -> Picker:
    """What takes the values at ``places`` out of any list, in their order; made once where many lists are asked.

    >>> picker([2, 0, 2])("abc"), picker([1])("abc"), picker([])("abc")
    (['c', 'a', 'c'], ['b'], [])
    """
    if len(places) < 2:
        return lambda values: [values[place] for place in places]
    taken = itemgetter(*places)
    return lambda values: list(taken(values))
