"""The windows that every detector must have an answer for, as rows."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

REFERENCE_ROWS = 4000


def reference_frame() -> pd.DataFrame:
    """Numbers without ties, numbers with a few values, one number, and categories, some of all missing."""
    return _rows(REFERENCE_ROWS, seed=1)


def _rows(count: int, seed: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.normal(20.0, 10.0, count),
            "few": rng.poisson(2.0, count).astype(np.float64),
            "same": np.full(count, 7.0),
            "c": rng.choice(["a", "b", "c", "rare"], count, p=[0.5, 0.3, 0.199, 0.001]).astype(object),
            "said": rng.gamma(2.0, 1.0, count),
        }
    )
    frame.loc[10::50, ["few", "c"]] = None
    return frame


def _with(**values: float | str) -> Callable[[], pd.DataFrame]:
    return lambda: _rows(600).assign(**values)


def _half_missing() -> pd.DataFrame:
    frame = _rows(600)
    frame.loc[:299] = None
    return frame


def _infinite() -> pd.DataFrame:
    frame = _rows(600)
    frame.loc[:99, ["x", "few", "same", "said"]] = np.inf
    frame.loc[100:149, ["x", "few", "same", "said"]] = -np.inf
    return frame


def _all_infinite() -> pd.DataFrame:
    return _rows(600).assign(x=np.inf, few=-np.inf, same=np.inf, said=-np.inf)


WINDOWS: Mapping[str, Callable[[], pd.DataFrame]] = {
    "like the reference": lambda: _rows(600),
    "empty": lambda: _rows(600).iloc[:0],
    "one row": lambda: _rows(1),
    "two rows": lambda: _rows(2),
    "constant": _with(x=3.0, few=1.0, same=7.0, c="a", said=2.0),
    "another constant": _with(x=1e300, few=-1e300, same=8.0, c="b", said=5e-324),
    "all missing": lambda: _rows(600).assign(x=np.nan, few=np.nan, same=np.nan, c=None, said=np.nan),
    "half missing": _half_missing,
    "infinite": _infinite,
    "all infinite": _all_infinite,
    "unseen": _with(x=-5000.0, few=77.5, c="never seen", said=1e6),
    "one row missing": lambda: _rows(1).assign(x=np.nan, few=np.nan, same=np.nan, c=None, said=np.nan),
}
