"""A p-value in words, the same in sentences, on web pages and in reports."""

import math

#: Smaller p-values are all the same to a reader.
SURELY = 1e-12


def p_text(p_value: float | None) -> str:
    """A p-value as people read it, never as a bare zero.

    >>> p_text(0.0314), p_text(1e-40), p_text(None)
    ('p = 0.031', 'p < 1e-12', 'no p-value')
    """
    if p_value is None or math.isnan(p_value):
        return "no p-value"
    return "p < 1e-12" if p_value < SURELY else f"p = {p_value:.2g}"
