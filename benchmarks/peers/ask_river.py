"""river with its defaults: an ``ADWIN`` per numeric column, fed row by row; an alarm in a window calls it drifted."""

from typing import Any

import numpy as np
from asking import Answers, Columns, is_number, main
from river.drift import ADWIN


def decide(reference: Columns, windows: list[Columns]) -> Answers:
    """The reference is fed first; alarms there do not count. Missing values, which stop river, are left out."""
    names = [name for name, values in reference.items() if is_number(values)]
    detectors = {name: ADWIN() for name in names}
    for name in names:
        _feed(detectors[name], reference[name])
    for window in windows:
        yield [_feed(detectors[name], window[name]) for name in names], None


def _feed(detector: ADWIN, values: Any) -> bool:
    alarms = 0
    for value in np.asarray(values)[np.isfinite(values)].tolist():
        detector.update(value)
        alarms += detector.drift_detected
    return alarms > 0


main(decide)
