"""Streams of several columns whose rows hang together, and the tests of several columns asked about them.

Four columns share a factor (but for the streams that say otherwise), so that there is a plane that most rows lie in.
Each stream can also be drawn as independent rows of the same law: so many of them as a window's rows are worth are what
an oracle would test, who knows which rows to leave out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import signal

from benchmarks.windows import KEY, monitor_of
from detectors.baselines.reference import build_reference
from detectors.counts.summary import WindowState
from detectors.counts.vectors import vectors
from detectors.evaluating.engine import StatisticsEngine
from detectors.evaluating.row_tables import beside
from detectors.evaluating.table_catalogue import table_detector
from detectors.evaluating.together import find, permutations, together_results
from detectors.statistics.table_sample import Drawn, TableSample
from driftline.columns import ColumnBatch
from driftline.monitor_detectors import AUTO, RowsTogether
from driftline.results import ALL_ROWS, Result

Rows = NDArray[np.float64]
TESTS = ("mmd_features", "mmd", "energy", "domain_classifier", "pca_reconstruction")
#: Rows of a window; of a reference ten times as many.
ROWS = 1000
#: Of which so many are kept and looked at.
KEPT = 500
#: The default: windows that may be called drifted; with one test of several columns, half of them by it.
BUDGET, RATE = 0.01, 0.005
_SLOW, _SHARED, _LEVEL, _ALIKE = 0.9, 0.6, 0.1, 20


@dataclass(frozen=True, slots=True)
class TableStream:
    """``draw``: rows in order; ``alone``: independent ones of the same law; shape (rows, columns) each.

    ``as_one``: so many rows of a window say as much as one, along the direction in which it is most.
    """

    draw: Callable[[np.random.Generator, int], Rows]
    alone: Callable[[np.random.Generator, int], Rows]
    as_one: int


def _normal(rng: np.random.Generator, rows: int, columns: int) -> Rows:
    return rng.normal(size=(rows, columns))


def _slow(rng: np.random.Generator, rows: int, columns: int) -> Rows:
    noise = rng.normal(size=(rows + ROWS, columns)) * np.sqrt(1.0 - _SLOW**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -_SLOW], noise, axis=0)[ROWS:])


def _alike(rng: np.random.Generator, rows: int, columns: int) -> Rows:
    return np.repeat(_normal(rng, -(-rows // _ALIKE), columns), _ALIKE, axis=0)[:rows]


def _days(rng: np.random.Generator, rows: int, columns: int) -> Rows:
    levels = np.repeat(_normal(rng, -(-rows // ROWS), columns), ROWS, axis=0)[:rows]
    return np.sqrt(_LEVEL) * levels + np.sqrt(1.0 - _LEVEL) * _normal(rng, rows, columns)


def _sharing(parts: Rows) -> Rows:
    """Columns that share the first part."""
    return np.sqrt(_SHARED) * parts[:, :1] + np.sqrt(1.0 - _SHARED) * parts[:, 1:]


def _four(draw: Callable[[np.random.Generator, int, int], Rows], as_one: int) -> TableStream:
    return TableStream(
        lambda rng, rows: _sharing(draw(rng, rows, 5)), lambda rng, rows: _sharing(_normal(rng, rows, 5)), as_one
    )


def _one_of_six(rng: np.random.Generator, rows: int) -> Rows:
    return np.hstack((_slow(rng, rows, 1), _normal(rng, rows, 5)))


def _of_ten(factor: Rows, rng: np.random.Generator) -> Rows:
    return np.asarray(np.sqrt(0.1) * factor + np.sqrt(0.9) * _normal(rng, len(factor), 10))


STREAMS: Mapping[str, TableStream] = {
    "independent": _four(_normal, 1),
    "slow signals": _four(_slow, 19),
    "clients of twenty alike": _four(_alike, 20),
    "days of some level": _four(_days, 101),
    "one slow column of six": TableStream(_one_of_six, lambda rng, rows: _normal(rng, rows, 6), 19),
    # Of a column's variance a tenth is slow, of their mean's ten in nineteen.
    "a slow factor of ten columns": TableStream(
        lambda rng, rows: _of_ten(_slow(rng, rows, 1), rng), lambda rng, rows: _of_ten(_normal(rng, rows, 1), rng), 10
    ),
}


def _batch(rows: Rows) -> ColumnBatch:
    return ColumnBatch(len(rows), {f"x{place}": values for place, values in enumerate(rows.T)})


def asked(rows: Rows, test: str, said: RowsTogether = AUTO, budget: float = BUDGET) -> Iterator[Result]:
    """What a monitor with this one test says of each window behind the reference.

    ``budget``: false alarms of a window that it may call, of which half are the test's.
    """
    first = rows[: 10 * ROWS]
    names = _batch(first).numeric
    monitor = monitor_of(names, None, said)
    named = {"multivariate": (test,), "kept_rows": KEPT, "false_alarm_rate": budget}
    spec = monitor.detectors.model_copy(update=named)
    monitor = monitor.model_copy(update={"detectors": spec})
    reference = build_reference(pd.DataFrame(dict(names)), monitor, seconds=np.arange(len(first), dtype=np.float64))
    engine = StatisticsEngine({monitor.name: reference})
    dice = np.random.default_rng(1)
    for start in range(10 * ROWS, len(rows), ROWS):
        window = _batch(rows[start : start + ROWS])
        state = WindowState.from_bytes(engine.observe(monitor, None, window))
        kept = vectors(reference.row_columns(monitor), window)[dice.permutation(ROWS)[:KEPT]]
        found = find(monitor, reference, {}, ALL_ROWS, state, beside(monitor, reference, ALL_ROWS, kept, None))
        (result,) = together_results(KEY, found, monitor)
        yield result


def oracle(
    stream: TableStream, test: str, rng: np.random.Generator, moved: Callable[[Rows], Rows], rate: float
) -> tuple[float, float]:
    """p-value and statistic of independent rows, as many as those that are looked at are worth."""
    before, now = (stream.alone(rng, _worth(stream, test, rows)) for rows in (10 * ROWS, ROWS))
    sample = TableSample(tuple(f"x{place}" for place in range(before.shape[1])), before, moved(now))
    found = table_detector(test).detect(sample, rng, permutations(rate)).evidence
    return 1.0 if found.p_value is None else found.p_value, found.statistic


def _worth(stream: TableStream, test: str, rows: int) -> int:
    looked_at = rows if table_detector(test).counted else min(rows, KEPT)
    return round(looked_at / Drawn(rows, stream.as_one).inflation(looked_at))
