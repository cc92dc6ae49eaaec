"""What the compiled build has for reading labels: all that a label says in one go, label by label."""

from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from driftline.events import Label
from driftline.native import native_module

_MODULE = "collector.labels.label_scanner"

#: A label's value, and how it is spelt; None where it has to be looked at closely.
Spell = Callable[[str | float | int | bool | None], str | None]


class LabelScanner(Protocol):
    """Reads what nearly all labels are, and leaves a batch with anything else in it to others."""

    def scan(
        self,
        labels: list[Label],
        spell: Spell,
        now_s: float,
        keys: NDArray[np.uint8],
        rows: NDArray[np.int64],
        observed_s: NDArray[np.float64],
        codes: NDArray[np.int32],
    ) -> tuple[list[str], list[str]] | None:
        """Fill the columns, ``keys`` of shape (labels, 16); answers the request ids, and the texts that ``codes`` mean.

        None where not all labels are of one model and of request ids that are UUIDs, or a value is a floating number.
        """
        ...


def label_scanner() -> LabelScanner | None:
    """The scanner; None where this build has none."""
    return cast("LabelScanner | None", native_module(_MODULE))
