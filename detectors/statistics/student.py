"""Student's quantile: what a mean of few values scatters by, in units of a deviation that is itself estimated."""

from functools import lru_cache

from scipy import special


@lru_cache(maxsize=1024)
def t_95(freedom: int) -> float:
    """Where 95 % of Student's law lie within, for so many degrees of freedom (1 at least).

    >>> round(t_95(9), 3), round(t_95(10**9), 3)
    (2.262, 1.96)
    """
    return float(special.stdtrit(max(freedom, 1), 0.975))
