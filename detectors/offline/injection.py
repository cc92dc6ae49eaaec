"""Changes put into data on purpose, to see whether they would have been found, and when.

Into rows exactly; into counts of stored windows as if every value were the mean of its bin, which is right for changes
that are larger than a bin (a 256th of the reference's rows).

>>> injection = parse_injection("temp=+5@2026-03-04")
>>> injection.column, injection.kind, injection.amount, injection.told
('temp', 'add', 5.0, 'temp +5 from 2026-03-04T00:00:00Z')
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from detectors.baselines.reference import Reference
from detectors.counts.binning import bin_numbers
from detectors.counts.layout import Layout
from detectors.counts.summary import Section, WindowState
from detectors.statistics.reasons import percent
from driftline.errors import ReferenceDataError, SettingsError

_CHANGE = re.compile(
    r"(?P<sign>[+*-])(?P<number>[0-9.eE+-]+)|missing:(?P<missing>[0-9.]+)|to:(?P<value>.+):(?P<share>[0-9.]+)"
)
_FORMS = "COLUMN=+5@TIME, COLUMN=*1.2@TIME, COLUMN=missing:0.3@TIME or COLUMN=to:VALUE:0.3@TIME"


@dataclass(frozen=True, slots=True)
class Injection:
    """From ``from_s`` on the column's numbers are moved (``add``, ``times``), or a share of its values goes missing or
    becomes ``value``.
    """

    column: str
    kind: Literal["add", "times", "missing", "value"]
    amount: float
    value: str
    from_s: float

    @property
    def told(self) -> str:
        """In words."""
        moment = datetime.fromtimestamp(self.from_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        how = {
            "add": f"{self.amount:+g}",
            "times": f"times {self.amount:g}",
            "missing": f"{percent(self.amount)} missing",
            "value": f"{percent(self.amount)} '{self.value}'",
        }
        return f"{self.column} {how[self.kind]} from {moment}"


def parse_injection(text: str) -> Injection:
    """Read ``COLUMN=CHANGE@TIME``; raises SettingsError that names what is wrong with it."""
    column, equals, rest = text.partition("=")
    change, at, moment = rest.rpartition("@")
    found = _CHANGE.fullmatch(change)
    if not (column and equals and at and found):
        raise SettingsError("backtest", [f"--inject '{text}' is none of {_FORMS}"])
    try:
        from_s = moment_of(moment)
        if found["sign"]:
            number = float(found["number"])
            if found["sign"] == "*":
                return Injection(column, "times", number, "", from_s)
            return Injection(column, "add", -number if found["sign"] == "-" else number, "", from_s)
        share = float(found["missing"] or found["share"])
    except ValueError as error:
        raise SettingsError("backtest", [f"--inject '{text}': {error}"]) from error
    if not 0 < share <= 1:
        raise SettingsError("backtest", [f"--inject '{text}': the share {share:g} is outside 0 to 1"])
    return Injection(column, "missing" if found["missing"] else "value", share, found["value"] or "", from_s)


def moment_of(text: str) -> float:
    """Seconds since the epoch of an ISO date or time, UTC where it names no zone; raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def into_rows(
    frame: pd.DataFrame, times_s: NDArray[np.float64], injection: Injection, rng: np.random.Generator
) -> pd.DataFrame:
    """The frame with the change in it; ``times_s``: when each row was. Raises ReferenceDataError."""
    name = injection.column
    if name not in frame.columns:
        raise ReferenceDataError(f"the column '{name}' that a change is injected into is missing")
    after = times_s >= injection.from_s
    if injection.kind in ("missing", "value"):
        chosen = after & (rng.random(len(frame)) < injection.amount)
        said = frame[name].astype(object)
        said[chosen] = None if injection.kind == "missing" else injection.value
        return frame.assign(**{name: said})
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    moved = values + injection.amount if injection.kind == "add" else values * injection.amount
    return frame.assign(**{name: np.where(after, moved, values)})


def into_counts(reference: Reference, state: bytes, injection: Injection, rng: np.random.Generator) -> bytes:
    """A window's state with the change in all of it; raises ReferenceDataError where it cannot be."""
    read = WindowState.from_bytes(state)
    section = read.section(reference.fingerprint)
    if section is None:
        return state
    values = section.values.copy()
    counts = reference.layout.counts(values, _index(reference.layout, injection.column))
    counts[:] = _changed(reference, counts, injection, rng)
    changed = {**read.sections, reference.fingerprint: Section(values, section.sums)}
    return WindowState(changed).to_bytes()


def _index(layout: Layout, name: str) -> int:
    try:
        return layout.index(name)
    except KeyError:
        known = ", ".join(column.name for column in layout.columns)
        raise ReferenceDataError(
            f"the column '{name}' that a change is injected into is not in the monitor; it has {known}"
        ) from None


def _changed(
    reference: Reference, counts: NDArray[np.int64], injection: Injection, rng: np.random.Generator
) -> NDArray[np.int64]:
    column = reference.layout.columns[_index(reference.layout, injection.column)]
    if injection.kind in ("missing", "value"):
        target = len(counts) - 1
        if injection.kind == "value" and column.kind == "categorical":
            target = column.codes.get(injection.value, len(counts) - 2)
        elif injection.kind == "value":
            target = int(bin_numbers(np.array([float(injection.value)]), column.edges)[0])
        taken = rng.binomial(counts, injection.amount)
        left: NDArray[np.int64] = counts - taken
        left[target] += taken.sum()
        return left
    means = reference.representatives.get(injection.column)
    if means is None:
        raise ReferenceDataError(
            f"the column '{injection.column}' is categorical; inject to:VALUE:SHARE or missing:SHARE"
        )
    means = _exact(means, column.cuts)
    moved = means + injection.amount if injection.kind == "add" else means * injection.amount
    finite = ~np.isnan(means)
    places = np.where(finite, bin_numbers(np.where(finite, moved, 0.0), column.edges), np.arange(len(counts)))
    found = np.zeros_like(counts)
    np.add.at(found, places, counts)
    return found


def _exact(means: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The bins' means, where a bin holds one value that value itself: a mean is rounded."""
    single = np.flatnonzero(cuts[1:] == np.nextafter(cuts[:-1], np.inf))
    found = means.copy()
    found[single + 2] = cuts[single]  # before it are minus infinity and what lies below all cuts
    return found
