"""Verdicts in sentences for people."""

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from detectors.statistics.evidence import ColumnSample
from driftline.native import native_module
from driftline.p_values import SURELY, p_text
from driftline.results import Interval, Verdict

_TITLES = {
    "ks": "KS distance",
    "psi": "PSI",
    "wasserstein": "Wasserstein distance",
    "chi_square": "chi-square",
    "jensen_shannon": "Jensen-Shannon distance",
    "cramer_von_mises": "Cramer-von Mises",
    "anderson_darling": "Anderson-Darling",
    "energy_distance": "energy distance",
    "g_test": "G",
    "hellinger": "Hellinger distance",
}

# A part of the largest difference of the distribution functions; where the other way it is smaller, all went one way.
_ONE_WAY = 0.1


@dataclass(frozen=True, slots=True)
class Margin:
    """Effects that matter begin at ``matters`` (the monitor's); ``detectable`` is found four times in five."""

    matters: float
    detectable: float


def moved_reason(column: str, what: str, facts: str, effect: Interval, verdict: Verdict, matters: float) -> str:
    """Why a column got a verdict that is not "ok": what moved (from :func:`movement`), how far, on which ``facts``.

    ``matters``: the smallest effect that does.
    """
    if verdict is Verdict.DRIFTED:
        return f"{column} {what}; {facts}"
    if effect.value < matters:
        size = f"effect {effect.value:.2g} is below the {matters:g} that matters"
        return f"{column} {what}, but little: {size}; {facts}"
    return f"{column} {what} by this detector, not by the one that decides; {facts}"


def reach(effect: Interval, margin: Margin) -> str:
    """How much a quiet column says: that it moved less than matters, or that there were too few rows to know."""
    if effect.upper < margin.matters:
        return below_what_matters(margin.matters)
    if margin.detectable > margin.matters:
        return f"; with so few rows only effects from {margin.detectable:.2g} on are found"
    return ""


def below_what_matters(matters: float) -> str:
    """The same of a column whose interval ends below ``matters``."""
    return f"; any effect is below the {matters:g} that matters"


def not_enough(column: str, why: str) -> str:
    """Why nothing can be said."""
    return f"{column}: not enough evidence, {why}" if column else f"not enough evidence: {why}"


def counted_as_one(rows: int) -> str:
    """What is said behind a number of rows, of which so many neighbours say as much as one.

    >>> counted_as_one(19), counted_as_one(1)
    (', 19 in a row count as one', '')
    """
    return f", {rows} in a row count as one" if rows > 1 else ""


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.3), percent(0.00123), percent(0.0)
    ('30 %', '0.12 %', '0 %')
    """
    return f"{share * 100:.3g} %" if share >= 0.1 else f"{share * 100:.2g} %"


def median(counts: "np.typing.NDArray[np.int64]", values: "np.typing.NDArray[np.float64]") -> float | None:
    """The representative value of the bin that holds the median; None without rows."""
    total = int(counts.sum())
    if total == 0:
        return None
    return float(values[int(np.searchsorted(np.cumsum(counts), (total + 1) // 2))])


def title(detector: str) -> str:
    """What a detector's statistic is called."""
    return _TITLES.get(detector, detector)


def measured(called: str, statistic: float, p_value: float | None) -> str:
    """A statistic, ``called`` so, and how sure it is.

    >>> measured("PSI", 0.01234, 0.0314)
    'PSI 0.0123 (p = 0.031)'
    """
    return f"{called} {statistic:.3g} ({p_text(p_value)})"


class Kernel(Protocol):
    """What ``sentence_kernel.pyx`` gives."""

    def sentences(
        self, heads: list[str], statistics: list[float], p_values: list[float | None], tails: list[str]
    ) -> list[str]:
        """As :func:`quiet_each`."""
        ...


def kernel() -> Kernel | None:
    """The compiled module; None where this build has none."""
    return cast("Kernel | None", native_module("detectors.statistics.sentence_kernel"))


_KERNEL = kernel()


def quiet_each(
    heads: list[str],
    statistics: list[float],
    p_values: list[float | None],
    tails: list[str],
    compiled: Kernel | None = _KERNEL,
) -> list[str]:
    """Statistics as :func:`measured` spells them, each between its head and its tail.

    >>> quiet_each(["x: PSI ", "y: KS "], [0.01234, 0.5], [0.0314, 1e-40], ["!", ""])
    ['x: PSI 0.0123 (p = 0.031)!', 'y: KS 0.5 (p < 1e-12)']
    """
    if compiled is not None:
        return compiled.sentences(heads, statistics, p_values, tails)
    known = [p_value or 0.0 for p_value in p_values] if None in p_values else cast("list[float]", p_values)
    numbers: list[float] = [0.0] * (2 * len(heads))
    numbers[::2] = statistics
    numbers[1::2] = known
    # One text is formatted for all, which takes a third of the time.
    figures = ("%.3g (p = %.2g)\n" * len(heads) % tuple(numbers)).split("\n")[:-1]
    if min(known, default=1.0) < SURELY:
        for place, p_value in enumerate(p_values):
            if p_value is None or p_value < SURELY:
                figures[place] = f"{statistics[place]:.3g} ({p_text(p_value)})"
    return [f"{head}{figure}{tail}" for head, figure, tail in zip(heads, figures, tails, strict=True)]


def movement(sample: ColumnSample) -> str:
    """What the eye would see first: a median that moved, values that went missing, a category that grew."""
    before, now = sample.reference / sample.reference_rows, sample.current / sample.current_rows
    if sample.kind == "categorical":
        return _category_movement(sample, before.tolist(), now.tolist())
    special = {"missing": -1, "minus infinity": 0, "infinity": -2}
    name = max(special, key=lambda key: abs(now[special[key]] - before[special[key]]))
    gap = abs(now[special[name]] - before[special[name]])
    largest = float(np.abs(np.cumsum(now) - np.cumsum(before)).max())
    if gap > largest / 2:
        verb = "went missing" if name == "missing" and now[-1] > before[-1] else f"changed its share of {name}"
        return f"{verb}: {percent(float(before[special[name]]))} -> {percent(float(now[special[name]]))}"
    return _numeric_movement(sample)


def _numeric_movement(sample: ColumnSample) -> str:
    values = sample.values[1:-2]
    before, now = median(sample.reference[1:-2], values), median(sample.current[1:-2], values)
    if before is None or now is None:
        return "has no finite values to compare"
    if before == now:
        return f"{_way(sample)} about the same median {now:.4g}"
    return f"moved {'down' if now < before else 'up'}: median {before:.4g} -> {now:.4g}"


def _way(sample: ColumnSample) -> str:
    """Where values went of which the middle one stayed: all one way, or not."""
    below = [np.cumsum(side[1:-2]) / side[1:-2].sum() for side in (sample.reference, sample.current)]
    gaps = below[1] - below[0]
    down, up = float(gaps.max()), float(-gaps.min())
    if min(down, up) > _ONE_WAY * max(down, up):
        return "changed its shape"
    return f"moved {'down' if down > up else 'up'}"


def _category_movement(sample: ColumnSample, before: list[float], now: list[float]) -> str:
    place = max(range(len(now)), key=lambda cell: abs(now[cell] - before[cell]))
    name = [*(f"'{each}'" for each in sample.categories), "unseen values", "missing"][place]
    return f"changed: {name} {percent(before[place])} -> {percent(now[place])}"
