"""What the compiled build has beside reading bodies by their templates: one pass, without an object per value."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from driftline.columns import CodedTexts
from driftline.joined_bytes import Mask, Positions
from driftline.native import native_module

_MODULE = "serving.body_scanner"

#: What a gap of a template holds: numbers, texts (each of them or null), or an id, which is not kept.
NUMBERS, TEXTS, IDS = range(3)


class Scanned(NamedTuple):
    """Which bodies fit, and what those have in each gap that holds no id, one body's values after the other's."""

    fits: Mask
    gaps: Sequence[NDArray[np.float64] | CodedTexts]


class Scanner(Protocol):
    """Reads bodies that are spelt as a template is, where its gaps hold what is usual; see ``body_scanner.pyx``."""

    def scan(self, text: bytes, starts: Positions, ends: Positions) -> Scanned:
        """Read the bodies that lie in ``text``. What does not fit may do so for who reads it as JSON."""
        ...


class MakeScanner(Protocol):
    """Makes the scanner of a template."""

    def __call__(self, pieces: tuple[bytes, ...], gaps: Sequence[tuple[int, int]]) -> Scanner:
        """``gaps``: what each gap between two ``pieces`` holds, and how many values."""
        ...


def scanners() -> MakeScanner | None:
    """What makes scanners; None where this build has none."""
    module = native_module(_MODULE)
    return None if module is None else cast("MakeScanner", module.Scanner)
