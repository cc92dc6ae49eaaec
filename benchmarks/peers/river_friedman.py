"""The FriedmanDrift table's streams and river's detectors on them: ``python river_friedman.py DIRECTORY TRIALS``.

A quadratic model is fitted to 5,000 rows; then come 2,000 rows to calibrate with, 2,500 stable and 2,500 drifted ones.
The absolute errors of each trial are written as ``KIND-TRIAL.npy``; the last line says at which rows each of river's
detectors alarmed.
"""

import json
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from river.datasets.synth import FriedmanDrift
from river.drift import ADWIN, PageHinkley

FITTED, CALIBRATED, STABLE, DRIFTED = 5000, 2000, 2500, 2500
_NEVER = 10**8
_CHANGE = FITTED + CALIBRATED + STABLE
KINDS: dict[str, dict[str, Any]] = {
    "global, abrupt": {"drift_type": "gra", "position": (_CHANGE, _NEVER)},
    "global, gradual": {"drift_type": "gsg", "position": (_CHANGE, _NEVER), "transition_window": 1000},
    "local, abrupt": {"drift_type": "lea", "position": (_CHANGE, _NEVER, 2 * _NEVER)},
}
DETECTORS: dict[str, Callable[[], Any]] = {"ADWIN": ADWIN, "PageHinkley": PageHinkley}


def errors(kind: str, trial: int) -> Any:
    """Absolute errors of the rows after those that the model was fitted to."""
    rows = islice(FriedmanDrift(seed=trial, **KINDS[kind]), _CHANGE + DRIFTED)
    inputs, targets = zip(*((list(x.values()), y) for x, y in rows), strict=True)
    x, y = np.array(inputs), np.array(targets)
    features = np.column_stack([np.ones(len(x)), x, x**2, x[:, 0] * x[:, 1]])
    weights = np.linalg.lstsq(features[:FITTED], y[:FITTED], rcond=None)[0]
    return np.abs(y - features @ weights)[FITTED:]


def alarms(detector: Any, values: list[float]) -> list[int]:
    """The rows, counted after calibration, at which it alarmed."""
    found = []
    for place, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected and place >= CALIBRATED:
            found.append(place - CALIBRATED)
    return found


def main() -> None:
    """Draw, write, alarm."""
    directory, trials = Path(sys.argv[1]), int(sys.argv[2])
    said: dict[str, dict[str, list[list[int]]]] = {}
    for kind in KINDS:
        said[kind] = {name: [] for name in DETECTORS}
        for trial in range(trials):
            stream = errors(kind, trial)
            np.save(directory / f"{kind}-{trial}.npy", stream)
            for name, make in DETECTORS.items():
                said[kind][name].append(alarms(make(), stream.tolist()))
    print(json.dumps(said))


main()
