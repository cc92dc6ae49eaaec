"""Benjamini-Hochberg: which of several p-values to reject so that few of the rejections are false.

Where nothing has changed at all, the chance of rejecting anything is at most ``rate``: a budget for the whole window,
however many columns it has. Holds for independent columns and for positively dependent ones.

Source: Y. Benjamini, Y. Hochberg, Controlling the false discovery rate, 1995.

>>> rejected([0.001, 0.02, 0.9], 0.05)
[True, True, False]
"""

from collections.abc import Sequence


def rejected(p_values: Sequence[float], rate: float) -> list[bool]:
    """For each p-value, in order, whether it is rejected at false discovery rate ``rate`` in (0, 1)."""
    count = len(p_values)
    if not count:
        return []
    # Above the highest limit none is rejected: few are left, and have the ranks that they have among all.
    highest = rate * count / count
    low = sorted([p_value for p_value in p_values if p_value <= highest], reverse=True)
    # Equal p-values are rejected together: the last of them has the highest limit.
    ranked = zip(range(len(low), 0, -1), low, strict=True)
    largest = next((p_value for rank, p_value in ranked if p_value <= rate * rank / count), None)
    if largest is None:
        return [False] * count
    return [p_value <= largest for p_value in p_values]


def adjusted(p_values: Sequence[float]) -> list[float]:
    """For each p-value, in order, the smallest rate at which it would be rejected."""
    count = len(p_values)
    result = [1.0] * count
    smallest = 1.0
    for rank, index in reversed(list(enumerate(sorted(range(count), key=p_values.__getitem__)))):
        smallest = min(smallest, p_values[index] * count / (rank + 1))
        result[index] = smallest
    return result
