"""How many rows in a row count as one in a window: what the monitor says, or what its reference shows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.reference import Reference
from detectors.baselines.rows_in_order import NOT_ASKED, TogetherRows
from detectors.statistics.hanging_directions import HangingDirections
from detectors.statistics.reasons import counted_as_one
from driftline.monitor_detectors import AUTO, RowsTogether


def of_columns(said: RowsTogether, reference: Reference, segment: str, rows: int) -> NDArray[np.int64]:
    """Of every column of the reference's layout in a window of ``rows`` rows, shape (columns,).

    ``said``: what the monitor says. An earlier file of a reference does not know it: 1.
    """
    if said != AUTO:
        return np.full(len(reference.layout.columns), said, dtype=np.int64)
    known = reference.together.get(segment)
    return np.ones(len(reference.layout.columns), dtype=np.int64) if known is None else known.of_columns(rows)


def of_rows(said: RowsTogether, reference: Reference, segment: str, rows: int, columns: Sequence[str]) -> int:
    """Of rows as wholes in a window of ``rows``: as many as along the column or direction in which it is most.

    An earlier file knows of columns only.
    """
    whole = _whole(said, reference, segment)
    if whole.knows_directions:
        return whole.of_directions(rows)
    known = of_columns(said, reference, segment, rows)
    return max((int(known[reference.layout.index(name)]) for name in columns), default=1)


def along_rows(said: RowsTogether, reference: Reference, segment: str) -> HangingDirections:
    """Directions of rows as wholes that hang together more than the rest does."""
    return _whole(said, reference, segment).directions


def of_rest(reference: Reference, segment: str, rows: int) -> int:
    """Of rows as wholes in a window of ``rows``, but for those directions."""
    return reference.together[segment].of_rest(rows)


def of_plane(said: RowsTogether, reference: Reference, segment: str, rows: int) -> int:
    """Of rows' distances from the plane that most of them lie in, in a window of ``rows``."""
    return said if said != AUTO else _whole(said, reference, segment).of_plane(rows)


def _whole(said: RowsTogether, reference: Reference, segment: str) -> TogetherRows:
    known = reference.together.get(segment) if said == AUTO else None
    return NOT_ASKED if known is None else known


def over_time(said: RowsTogether, reference: Reference, segment: str, index: int) -> int:
    """Of one column over windows however large."""
    if said != AUTO:
        return said
    known = reference.together.get(segment)
    return 1 if known is None else int(known.most[index])


def of_losses(said: RowsTogether, reference: Reference | None, segment: str) -> int:
    """Of right and wrong predictions over windows however large; 1 where there are no labels to know it from."""
    if said != AUTO:
        return said
    known = None if reference is None else reference.together.get(segment)
    return 1 if known is None else known.of_losses()


def told_of_window(said: RowsTogether, column: str, most: int, smallest: float) -> str:
    """One line for a window: of which column most rows hang together, who says so, and what is seen all the same.

    >>> told_of_window("auto", "x", 19, 0.314)
    '; rows hang together as in the reference, most in x: 19 in a row count as one, effects from 0.31 on are found'
    >>> told_of_window(20, "x", 20, 1.0)
    '; rows hang together as detectors.rows_together says: 20 in a row count as one, no effect is surely found'
    """
    if not column:
        return ""
    who = f"in the reference, most in {column}" if said == AUTO else "detectors.rows_together says"
    seen = f"effects from {smallest:.2g} on are found" if smallest < 1.0 else "no effect is surely found"
    return f"; rows hang together as {who}: {counted_as_one(most).removeprefix(', ')}, {seen}"
