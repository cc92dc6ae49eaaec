"""Every detector of all columns together that a monitor can name, in one table, and the check of the names.

To add one: write its file in ``detectors/multivariate/`` (a function from :class:`TableSample` and a generator of
random numbers to :class:`TableEvidence`), add a line here. The tests that run over the table hold it to the
conformance list.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from detectors.adapters import alibi, jax_arrays
from detectors.counts.random_features import NAME as MMD_FEATURES
from detectors.multivariate.arrays import Arrays
from detectors.multivariate.domain_classifier import domain_classifier
from detectors.multivariate.energy import energy
from detectors.multivariate.mmd import mmd
from detectors.multivariate.mmd_features import mmd_features
from detectors.multivariate.pca_reconstruction import pca_reconstruction
from detectors.statistics.table_sample import TableEvidence, TableSample
from driftline.monitors import Monitor


class TableDetector(Protocol):
    """A test of two tables: pure, repeated with an equal ``rng`` equal, and defined for every sample."""

    def __call__(self, sample: TableSample, rng: np.random.Generator, permutations: int, /) -> TableEvidence:
        """The evidence that the tables' rows come from different distributions; ``permutations`` where it has any."""
        ...


class PlacedDetector(Protocol):
    """A test of two tables that a device can work out: the same, for every ``arrays``, but for rounding."""

    def __call__(
        self,
        sample: TableSample,
        rng: np.random.Generator,
        permutations: int,
        /,
        arrays: Arrays = ...,
        most_rows: int = ...,
    ) -> TableEvidence:
        """As TableDetector says; ``arrays``: where; ``most_rows``: of either side, chosen by chance."""
        ...


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A detector, its name in monitors, and whether it can decide (has a p-value).

    ``counted``: a window's counts hold what it needs; others need rows, of files or such as the monitor has kept
    (``detectors.kept_rows``). ``needs_context``: it asks whether more changed than the mix of the monitor's segments.
    ``placed``: the same detector, where a device can work it out. ``counts_as_one``: what of rows it looks at, of which
    so many neighbours count as one as hang together; nothing: it takes rows as independent. ``tells_directions``: it
    knows of directions of rows that hang together more than the rest.
    """

    name: str
    detect: TableDetector
    decides: bool = True
    counted: bool = False
    needs_context: bool = False
    placed: PlacedDetector | None = None
    counts_as_one: Literal["", "rows", "distances from the plane"] = ""
    tells_directions: bool = False


TABLE_CATALOGUE: tuple[TableEntry, ...] = (
    TableEntry(MMD_FEATURES, mmd_features, counted=True, counts_as_one="rows"),
    TableEntry("mmd", mmd, placed=mmd, counts_as_one="rows", tells_directions=True),
    TableEntry("energy", energy, placed=energy, counts_as_one="rows", tells_directions=True),
    TableEntry("domain_classifier", domain_classifier, counts_as_one="rows", tells_directions=True),
    TableEntry("pca_reconstruction", pca_reconstruction, counts_as_one="distances from the plane"),
    TableEntry("alibi:mmd", alibi.mmd),
    TableEntry("alibi:lsdd", alibi.lsdd),
    TableEntry("alibi:spot_the_diff", alibi.spot_the_diff),
    TableEntry("alibi:context_mmd", alibi.context_mmd, needs_context=True),
)


def table_detector(name: str) -> TableEntry:
    """The entry of that name; raises KeyError. :func:`table_faults` makes sure beforehand."""
    return {entry.name: entry for entry in TABLE_CATALOGUE}[name]


def needs_rows(chosen: Sequence[str]) -> bool:
    """Whether any of the detectors needs rows; counts are not enough for it."""
    return any(not table_detector(name).counted for name in chosen)


def placed_names(monitor: Monitor) -> list[str]:
    """The detectors of the monitor's list that a device can work out."""
    entries = {entry.name: entry for entry in TABLE_CATALOGUE}
    return [name for name in monitor.detectors.multivariate if name in entries and entries[name].placed is not None]


def table_faults(monitor: Monitor) -> list[str]:
    """What is wrong with a monitor's list, each fault with its place."""
    chosen = monitor.detectors.multivariate
    entries = {entry.name: entry for entry in TABLE_CATALOGUE}
    faults = []
    for index, name in enumerate(chosen):
        place = f"detectors.multivariate.{index}"
        if name not in entries:
            near = difflib.get_close_matches(name, entries, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(entries)}"
            faults.append(f"{place}: '{name}' is not a detector of all columns together; {hint}")
        elif name in chosen[:index]:
            faults.append(f"{place}: '{name}' is named twice")
        elif index == 0 and not entries[name].decides:
            faults.append(f"{place}: '{name}' has no p-value and cannot decide; put it after one that has")
        elif name.startswith("alibi:") and not alibi.TENSORFLOW:
            faults.append(f"{place}: {alibi.TENSORFLOW_HINT}")
        elif entries[name].needs_context and not monitor.segments:
            faults.append(f"{place}: '{name}' needs segments, the columns whose mix may change")
    if monitor.detectors.device == "gpu" and isinstance(why := jax_arrays.open_gpu(), str):
        faults.append(jax_arrays.no_gpu(why))
    return faults
