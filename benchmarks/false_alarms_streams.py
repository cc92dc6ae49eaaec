"""Streams in which nothing changes, of many kinds: a reference of ten windows' rows, then windows of the same law."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftline.monitor_detectors import AUTO, RowsTogether

Draw = Callable[[np.random.Generator, int], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Stream:
    """How one kind of stream is drawn: each column by itself, a window's rows together."""

    rows: int
    columns: Mapping[str, Draw]
    #: Windows at most: some kinds are large.
    windows: int = 1000
    #: What its monitor says of rows that hang together; and whether it is known that they lie in order of time.
    rows_together: RowsTogether = AUTO
    in_time: bool = False
    #: A control: windows are moved by this much, and everybody should say so.
    moved: float = 0.0

    def draw(self, seed: int, windows: int) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """The reference, shape (10 rows,) a column, and the windows, shape (windows, rows) a column."""
        rng = np.random.default_rng(seed)
        count = min(windows, self.windows)
        reference, later = {}, {}
        for name, draw in self.columns.items():
            values = draw(rng, (10 + count) * self.rows)
            reference[name] = values[: 10 * self.rows]
            later[name] = values[10 * self.rows :].reshape(count, self.rows)
            if self.moved:
                later[name] = later[name] + self.moved
        return reference, later


def levels(count: int, power: float = 1.0) -> Draw:
    """Categories whose frequency falls with their rank."""
    shares = 1.0 / np.arange(1, count + 1) ** power
    names = np.array([f"level {place}" for place in range(count)])
    return lambda rng, rows: rng.choice(names, rows, p=shares / shares.sum())


def _normal(rng: np.random.Generator, rows: int) -> NDArray[Any]:
    return rng.normal(size=rows)


def _zero_inflated(rng: np.random.Generator, rows: int) -> NDArray[Any]:
    return np.where(rng.random(rows) < 0.8, 0.0, rng.lognormal(size=rows))


def _missing(share: float, draw: Draw) -> Draw:
    def drawn(rng: np.random.Generator, rows: int) -> NDArray[Any]:
        values = draw(rng, rows)
        return np.where(rng.random(rows) < share, np.nan if values.dtype.kind == "f" else "", values)

    return drawn


def _autocorrelated(rng: np.random.Generator, rows: int) -> NDArray[Any]:
    noise, values = rng.normal(size=rows) * np.sqrt(1 - 0.9**2), np.empty(rows)
    last = 0.0
    for place, step in enumerate(noise.tolist()):
        last = 0.9 * last + step
        values[place] = last
    return values


def _alike(rows: int) -> Draw:
    """Clients that send so many rows alike, one after the other."""
    return lambda rng, count: np.repeat(rng.normal(size=-(-count // rows)), rows)[:count]


def _levels_of_days(rows_a_day: int, share: float) -> Draw:
    """``share`` of the variance is between days."""

    def drawn(rng: np.random.Generator, rows: int) -> NDArray[Any]:
        level = np.repeat(rng.normal(size=-(-rows // rows_a_day)), rows_a_day)[:rows]
        return np.sqrt(share) * level + np.sqrt(1.0 - share) * rng.normal(size=rows)

    return drawn


def _seasonal(rows_a_day: int) -> Draw:
    """A daily wave as large as twice the noise; a window is a day, so that its baseline matches."""

    def drawn(rng: np.random.Generator, rows: int) -> NDArray[Any]:
        hours = np.arange(rows) % rows_a_day * (2 * np.pi / rows_a_day)
        return 2.0 * np.sin(hours) + rng.normal(size=rows)

    return drawn


def _rounded(rng: np.random.Generator, rows: int) -> NDArray[Any]:
    return np.round(rng.normal(size=rows) * 2.0) / 2.0


_FIFTY: dict[str, Draw] = {
    **{f"normal {place}": _normal for place in range(20)},
    **{f"gamma {place}": lambda rng, rows: rng.gamma(2.0, size=rows) for place in range(10)},
    **{f"count {place}": lambda rng, rows: rng.poisson(3.0, rows).astype(float) for place in range(10)},
    **{f"text {place}": levels(5 * (place + 1)) for place in range(10)},
}

#: The stream that did change: a peer that is quiet there was asked wrongly.
CONTROL = "control: moved by a standard deviation"
STREAMS: Mapping[str, Stream] = {
    "normal": Stream(1000, {"a": _normal, "b": lambda rng, rows: rng.normal(50.0, 4.0, rows)}),
    "heavy tail": Stream(
        1000, {"t2": lambda rng, rows: rng.standard_t(2, rows), "pareto": lambda rng, rows: rng.pareto(1.2, rows)}
    ),
    "discrete": Stream(
        1000,
        {
            "poisson": lambda rng, rows: rng.poisson(3.0, rows).astype(float),
            "of 500": lambda rng, rows: rng.integers(0, 500, rows).astype(float),
        },
    ),
    "ties": Stream(1000, {"rounded": _rounded, "coin": lambda rng, rows: (rng.random(rows) < 0.03).astype(float)}),
    "zero-inflated": Stream(1000, {"amount": _zero_inflated}),
    "few categories": Stream(1000, {"three": levels(3), "ten": levels(10)}),
    "many categories": Stream(1000, {"fifty": levels(50), "thousand": levels(1000)}),
    "autocorrelated": Stream(1000, {"ar": _autocorrelated}),
    "autocorrelated, rows_together 20": Stream(1000, {"ar": _autocorrelated}, rows_together=20),
    "clients of twenty alike": Stream(1000, {"client": _alike(20)}),
    "days of some level": Stream(1000, {"level": _levels_of_days(1000, 0.1)}, in_time=True),
    "seasonal, matched": Stream(1000, {"wave": _seasonal(1000)}),
    "missing": Stream(1000, {"number": _missing(0.2, _normal), "text": _missing(0.1, levels(10))}),
    "small windows": Stream(100, {"number": _normal, "text": levels(5), "tail": lambda rng, n: rng.lognormal(size=n)}),
    "large windows": Stream(
        50_000, {"number": _normal, "tail": lambda rng, n: rng.standard_t(2, n), "text": levels(10)}, windows=30
    ),
    "50 columns": Stream(500, _FIFTY, windows=200),
    CONTROL: Stream(1000, {"a": _normal, "b": _normal}, windows=20, moved=1.0),
}


def write(directory: Path, seed: int, windows: int, names: Iterable[str]) -> None:
    """Streams as files that the peers' scripts read (see ``benchmarks/peers/asking.py``)."""
    for name in names:
        reference, later = STREAMS[name].draw(seed, windows)
        arrays = {f"reference/{column}": values for column, values in reference.items()}
        arrays |= {f"windows/{column}": values for column, values in later.items()}
        np.savez(directory / f"{name}.npz", **arrays)
