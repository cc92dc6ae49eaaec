"""Every detector that a monitor can name, in one table, and the check of the names.

To add a detector: write its file (a function from :class:`ColumnSample` to :class:`Evidence`), add a line here.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from detectors.adapters import alibi as alibi_adapter
from detectors.adapters import evidently as evidently_adapter
from detectors.counts.layout import Kind
from detectors.evaluating import accuracy_tests
from detectors.evaluating.classics import CLASSICS, OF_EVENTS
from detectors.evaluating.sequential import faults_of
from detectors.evaluating.table_catalogue import table_faults
from detectors.online.entries import SHARE_TESTS
from detectors.statistics.columns import ColumnsDetector, one_by_one
from detectors.statistics.evidence import ColumnSample, Evidence
from detectors.univariate.anderson_darling import anderson_darling
from detectors.univariate.chi_square import chi_square, chi_square_of_columns
from detectors.univariate.cramer_von_mises import cramer_von_mises
from detectors.univariate.energy_distance import energy_distance
from detectors.univariate.g_test import g_test, g_test_of_columns
from detectors.univariate.hellinger import hellinger, hellinger_of_columns
from detectors.univariate.jensen_shannon import jensen_shannon, jensen_shannon_of_columns
from detectors.univariate.ks import ks, ks_of_columns
from detectors.univariate.psi import psi, psi_of_columns
from detectors.univariate.wasserstein import wasserstein, wasserstein_of_columns
from driftline.errors import MonitorError
from driftline.monitors import Monitor


class Detector(Protocol):
    """A statistic of one column: pure, and defined for every sample with rows on both sides."""

    def __call__(self, sample: ColumnSample) -> Evidence:
        """The evidence that the column's distribution moved."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A detector, its name in monitors, the column types it can look at, and whether it can decide (has a p-value).

    ``of_columns``: the same for several columns at once, where it has such a form.
    """

    name: str
    kinds: tuple[Kind, ...]
    detect: Detector
    of_columns: ColumnsDetector | None = None
    decides: bool = True


_BOTH: tuple[Kind, ...] = ("numeric", "categorical")

CATALOGUE: tuple[Entry, ...] = (
    Entry("ks", ("numeric",), ks, ks_of_columns),
    Entry("psi", _BOTH, psi, psi_of_columns),
    Entry("wasserstein", ("numeric",), wasserstein, wasserstein_of_columns),
    Entry("chi_square", _BOTH, chi_square, chi_square_of_columns),
    Entry("jensen_shannon", _BOTH, jensen_shannon, jensen_shannon_of_columns),
    Entry("cramer_von_mises", ("numeric",), cramer_von_mises),
    Entry("anderson_darling", ("numeric",), anderson_darling),
    Entry("energy_distance", ("numeric",), energy_distance),
    Entry("g_test", _BOTH, g_test, g_test_of_columns),
    Entry("hellinger", _BOTH, hellinger, hellinger_of_columns),
    Entry("alibi:ks", ("numeric",), alibi_adapter.ks),
    Entry("alibi:chi_square", ("categorical",), alibi_adapter.chi_square),
    Entry("evidently:ks", ("numeric",), evidently_adapter.ks),
    Entry("evidently:psi", _BOTH, evidently_adapter.psi, decides=False),
    Entry("evidently:wasserstein", ("numeric",), evidently_adapter.wasserstein, decides=False),
    Entry("evidently:jensenshannon", _BOTH, evidently_adapter.jensenshannon, decides=False),
    Entry("evidently:chisquare", ("categorical",), evidently_adapter.chisquare),
)

_BY_NAME: Mapping[str, Detector] = {entry.name: entry.detect for entry in CATALOGUE}
_OF_COLUMNS: Mapping[str, ColumnsDetector] = {
    entry.name: entry.of_columns or one_by_one(entry.detect) for entry in CATALOGUE
}


def detector(name: str) -> Detector:
    """The detector of that name; raises KeyError. :func:`check_detectors` makes sure beforehand."""
    return _BY_NAME[name]


def detector_of_columns(name: str) -> ColumnsDetector:
    """The same for several columns of one kind at once."""
    return _OF_COLUMNS[name]


def check_detectors(monitor: Monitor) -> None:
    """Raise MonitorError naming every detector of the monitor that is unknown, unfit for its columns, or absent."""
    faults = [
        *_faults("numeric", monitor.detectors.numeric),
        *_faults("categorical", monitor.detectors.categorical),
        *table_faults(monitor),
        *_online_faults(monitor),
    ]
    if faults:
        raise MonitorError(f"monitor {monitor.name}", faults)


def _faults(kind: Kind, chosen: Sequence[str]) -> list[str]:
    entries = {entry.name: entry for entry in CATALOGUE}
    faults = [] if chosen else [f"detectors.{kind}: names no detector; the first one decides"]
    for index, name in enumerate(chosen):
        place = f"detectors.{kind}.{index}"
        if name not in entries:
            near = difflib.get_close_matches(name, entries, n=1)
            known = ", ".join(entry.name for entry in CATALOGUE if kind in entry.kinds)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {known}"
            faults.append(f"{place}: '{name}' is not a detector; {hint}")
        elif kind not in entries[name].kinds:
            faults.append(f"{place}: '{name}' cannot look at {kind} columns")
        elif name in chosen[:index]:
            faults.append(f"{place}: '{name}' is named twice")
        elif index == 0 and not entries[name].decides:
            faults.append(
                f"{place}: '{name}' has no p-value and cannot decide; put it after one that has, such as 'psi'"
            )
        else:
            faults.extend(f"{place}: {fault}" for fault in _absent(name))
    return faults


def _online_faults(monitor: Monitor) -> list[str]:
    promising = [entry.name for entry in SHARE_TESTS]
    known = [*promising, *CLASSICS]
    faults = [f"detectors.online.{field}: {fault}" for field, fault in faults_of(monitor).items()]
    of_accuracy = accuracy_tests.faults_of(monitor)
    faults += [f"detectors.accuracy.{field}: {fault}" for field, fault in of_accuracy.items()]
    for index, name in enumerate(monitor.detectors.online.tests):
        place = f"detectors.online.tests.{index}"
        if name in OF_EVENTS:
            faults.append(f"{place}: '{name}' needs single events in their order, which windows' counts do not keep")
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
            faults.append(f"{place}: '{name}' is not a sequential test; {hint}")
        elif name in monitor.detectors.online.tests[:index]:
            faults.append(f"{place}: '{name}' is named twice")
        elif index == 0 and name in CLASSICS:
            faults.append(
                f"{place}: '{name}' promises nothing and cannot decide; put it after one that does, such as 'e_cusum'"
            )
    return faults


def _absent(name: str) -> list[str]:
    if name.startswith("alibi:") and not alibi_adapter.AVAILABLE:
        return [alibi_adapter.HINT]
    if name.startswith("evidently:") and not evidently_adapter.AVAILABLE:
        return [evidently_adapter.HINT]
    return []
