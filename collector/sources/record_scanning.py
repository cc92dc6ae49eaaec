"""What the compiled build has for reading Kafka's records: the same steps, one record after the other."""

from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from driftline.joined_bytes import Mask, Positions
from driftline.native import native_module

_MODULE = "collector.sources.record_scanner"


class RecordScanner(Protocol):
    """Finds what is as it should be, and leaves the rest to who can say what is wrong. See ``record_scanner.pyx``."""

    def record_spans(self, text: bytes, size: int, at: int, count: int) -> NDArray[np.int64] | None:
        """Of each of ``count`` records from ``at`` on: its offset in the batch, and where value, headers and end are.

        Shape (4, count). None where not all are records that end before ``size``.
        """
        ...

    def fitting_blocks(
        self, text: bytes, starts: Positions, ends: Positions, pieces: tuple[bytes, ...]
    ) -> tuple[Mask, Positions, Positions]:
        """Which blocks of headers fit, and where the gaps of those begin and end, shape (fitting, gaps)."""
        ...

    def fitting_values(
        self, text: bytes, starts: Positions, ends: Positions, before: bytes, between: bytes, behind: bytes, name: bytes
    ) -> tuple[Mask, Positions]:
        """Which values fit, with ``name`` once; and where the two bodies of each begin and end, shape (values, 4)."""
        ...


def record_scanner() -> RecordScanner | None:
    """The scanner; None where this build has none."""
    return cast("RecordScanner | None", native_module(_MODULE))
