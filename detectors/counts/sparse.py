"""Vectors that are mostly zeros, as bytes: every count that is not zero with its place.

First how many counts take one byte, then these, then those that take eight. Many vectors are written and read at once.

>>> rows = np.array([[0, 3, 0, -1000], [0, 0, 0, 0]])
>>> [len(written) for written in write_rows(rows)], (read_rows(write_rows(rows), 4) == rows).all()
([15, 2], np.True_)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: No longer vector can be written.
LARGEST = 1 << 16

_HEAD = np.dtype("<u2")
_SMALL = np.dtype([("place", "<u2"), ("count", "<i1")])
_LARGE = np.dtype([("place", "<u2"), ("count", "<i8")])


def write_rows(values: NDArray[np.int64]) -> list[bytes]:
    """Each row of ``values``, shape (rows, size), as bytes."""
    flat = values.ravel()
    cells = np.flatnonzero(flat != 0)
    starts = np.arange(len(values) + 1) * values.shape[1]
    ends = cells.searchsorted(starts)
    places = cells - starts[:-1].repeat(ends[1:] - ends[:-1])
    counts = flat[cells]
    fits = counts.astype(np.int8) == counts
    parts, edges = [], []
    for kind, chosen in ((_SMALL, fits), (_LARGE, ~fits)):
        written = np.empty(np.count_nonzero(chosen), dtype=kind)
        written["place"], written["count"] = places[chosen], counts[chosen]
        parts.append(written.tobytes())
        edges.append((cells[chosen].searchsorted(starts) * kind.itemsize).tolist())
    heads = (np.diff(edges[0]) // _SMALL.itemsize).astype(_HEAD).tobytes()
    spans = zip(range(0, len(heads), 2), edges[0], edges[0][1:], edges[1], edges[1][1:], strict=False)
    return [heads[at : at + 2] + parts[0][start:end] + parts[1][begin:stop] for at, start, end, begin, stop in spans]


def read_rows(written: Sequence[bytes], size: int) -> NDArray[np.int64]:
    """What :func:`write_rows` wrote, shape (rows, size); raises ValueError for what it cannot have written."""
    values = np.zeros((len(written), size), dtype=np.int64)
    add_rows(values, range(len(written)), written)
    return values


def add_rows(values: NDArray[np.int64], rows: Sequence[int], written: Sequence[bytes]) -> None:
    """Add what :func:`write_rows` wrote to these different rows of ``values``; raises ValueError as above."""
    small = [int.from_bytes(each[:2], "little") for each in written]
    ends = [2 + count * _SMALL.itemsize for count in small]
    large = [max(0, len(each) - end) // _LARGE.itemsize for each, end in zip(written, ends, strict=True)]
    if any(end + count * _LARGE.itemsize != len(each) for end, count, each in zip(ends, large, written, strict=True)):
        raise ValueError("half a count")
    parts = (
        (_SMALL, small, [each[2:end] for each, end in zip(written, ends, strict=True)]),
        (_LARGE, large, [each[end:] for each, end in zip(written, ends, strict=True)]),
    )
    for kind, lengths, cells in parts:
        stored = np.frombuffer(b"".join(cells), dtype=kind)
        if len(stored) and int(stored["place"].max()) >= values.shape[1]:
            raise ValueError(f"a place beyond {values.shape[1]} counts")
        of_row = np.repeat(np.asarray(rows, dtype=np.intp), np.asarray(lengths, dtype=np.intp))
        values[of_row, stored["place"]] += stored["count"]
