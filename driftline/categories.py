"""How a number is spelt as a category, alike in references, payloads and rows, so that 1 and 1.0 are one class."""

#: Whole numbers below this are all different as float64, and are spelt alike whether they came as int or as float.
LARGEST_WHOLE = 1e15


def category_of_float(value: float) -> str:
    """The category of a number that is not NaN: a whole one without a point below :data:`LARGEST_WHOLE`, else its repr.

    >>> [category_of_float(value) for value in (1.0, 0.5, -0.0, 1e16, float("inf"))]
    ['1', '0.5', '0', '1e+16', 'inf']
    """
    return str(int(value)) if value.is_integer() and abs(value) < LARGEST_WHOLE else repr(value)
