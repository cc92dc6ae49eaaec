"""How often windows like the reference would be called drifted: drawn from its own counts, and judged as any other.

Each turn draws a reference and windows anew from the same shares, column by column; so both sides have the noise of
samples, and columns are independent of each other. What real rows do beyond that (they depend on each other and on the
hour) is not in it: the quiet part of history shows that.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.reference import Reference
from detectors.counts.layout import OUTLIERS, ROWS, SCORED
from detectors.counts.summary import Section, WindowState
from detectors.evaluating.evaluation import Evaluator
from detectors.offline.files import window_verdict
from driftline.monitors import Monitor
from driftline.results import ALL_ROWS, StreamKey, Verdict, WindowKey

#: Windows that share one drawn reference.
_PER_REFERENCE = 10


def drifted_by_chance(
    monitor: Monitor,
    reference: Reference,
    bridge: NDArray[np.float32],
    rows: int,
    windows: int,
    rng: np.random.Generator,
) -> int:
    """How many of so many windows of ``rows`` rows without any drift were called drifted."""
    key = WindowKey(StreamKey(monitor.namespace, monitor.model, "", ""), ALL_ROWS, 0.0, 1.0)
    found = 0
    for start in range(0, windows, _PER_REFERENCE):
        counts = _drawn(reference, int(reference.counts[ALL_ROWS][ROWS]), rng)
        evaluator = Evaluator(monitor, replace(reference, counts={ALL_ROWS: counts}, performance={}), bridge)
        for _ in range(min(_PER_REFERENCE, windows - start)):
            state = WindowState({reference.fingerprint: Section(_drawn(reference, rows, rng))})
            found += window_verdict(evaluator.evaluate(key, state).results) is Verdict.DRIFTED
    return found


def _drawn(reference: Reference, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Counts of so many rows, with the reference's shares."""
    layout, held = reference.layout, reference.counts[ALL_ROWS]
    vector = np.zeros(layout.size, dtype=np.int64)
    vector[ROWS] = rows
    before = max(int(held[ROWS]), 1)
    for index in range(len(layout.columns)):
        counts = layout.counts(held, index)
        layout.counts(vector, index)[:] = rng.multinomial(rows, counts / max(int(counts.sum()), 1))
    vector[SCORED] = rows if held[SCORED] else 0
    vector[OUTLIERS] = rng.binomial(vector[SCORED], held[OUTLIERS] / max(int(held[SCORED]), 1))
    invalid = held[layout.invalid_at] / before
    vector[layout.invalid_at] = rng.binomial(rows, np.clip(invalid, 0.0, 1.0))
    return vector
